"""The audit of a run: what the results of its stages say that they have read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.computing.images import PartImages
from adloc.computing.reading import IMAGES_READ, noted, read_by
from adloc.computing.store import Store
from adloc.datasets.transform import ImageConfig
from adloc.methods.detector import Result
from adloc.planning.sources import ImageStage
from adloc.planning.stages import StepStage, ThresholdStage, TruthStage
from adloc.record.audit import AUDIT, Audit, audit, is_noted, write_audit
from adloc.verify.stages import compare_audit
from plans import plan_of

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.stages import Stage

(RUN,) = plan_of(("a",)).runs


def honest(stage: Stage) -> Result:
    """Has read its own images."""
    return Result({}, {IMAGES_READ: noted(known.sha256 for part in stage.parts for known in part.fingerprints)})


@pytest.fixture(autouse=True)
def hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up images have names for hashes, all of which begin alike."""
    import adloc.computing.reading
    import adloc.record.audit

    for module in (adloc.computing.reading, adloc.record.audit):
        monkeypatch.setattr(module, "N_DIGITS", 64)


def test_a_run_whose_stages_read_their_own_images_is_clean() -> None:
    """Counted per part: 16 train, 4 + 6 to validate, 4 + 14 to test."""
    found = audit(RUN, honest)
    assert found.early == ()
    assert found.conclusion == "no test image before scoring: 16 train, 10 validation, 18 test"
    counts = {
        stage.stage: (stage.n_train, stage.n_validation, stage.n_test) for stage in found.stages if not stage.scores
    }
    assert counts == {
        "patchcore.coreset (fit)": (16, 0, 0),
        "patchcore.search (score)": (0, 10, 0),
        "patchcore.scores (score)": (0, 10, 0),
        "threshold": (0, 10, 0),
        "truth": (0, 10, 0),
    }


@pytest.mark.parametrize("kind", ["patchcore.coreset", "threshold", "truth"])
def test_a_test_image_that_was_read_early_is_found(kind: str, tmp_path: Path) -> None:
    """One result in the store says so: the audit names its stage, and `study verify` finds that something differs."""
    seen = RUN.test.truth.part.fingerprints[3].sha256
    store, forged = Store(tmp_path), set()
    for stage in {
        each.key: each for each in RUN.stages() if isinstance(each, StepStage | ThresholdStage | TruthStage)
    }.values():
        result = honest(stage)
        if stage.kind == kind and RUN.test.truth.part not in stage.parts:
            result = Result({}, {IMAGES_READ: noted([seen], (result,))})
            forged.add(stage.key)
        store.put(stage.kind, stage.key, result)
    found: Audit = audit(RUN, lambda stage: store.get(stage.kind, stage.key))
    assert {stage.key for stage in found.early} == forged
    assert len(forged) == 1
    assert f"{kind}" in found.conclusion
    assert "has read 1 test and 0 other images" in found.conclusion
    row = next(row for row, (_, _, sha256) in enumerate(found.images) if sha256 == seen)
    assert any(first <= row <= last for first, last in found.early[0].images)
    assert compare_audit(RUN, store).outcome == "differs"


def test_an_image_of_no_part_counts_as_one_that_should_not_be_there() -> None:
    """A stage that read what the run was never planned with is named."""
    found = audit(
        RUN, lambda stage: Result({}, {IMAGES_READ: "0123456789abcdef"}) if stage.kind == "threshold" else honest(stage)
    )
    assert [(stage.stage, stage.n_other) for stage in found.early] == [("threshold", 1)]


def test_results_of_earlier_versions_are_said_not_to_say(tmp_path: Path) -> None:
    """Nothing is concluded of them; they stay valid."""
    found = audit(RUN, lambda stage: Result({}) if isinstance(stage, TruthStage) else honest(stage))
    assert found.early == ()
    assert found.conclusion.startswith("2 of 8 stages do not say what they have read; no test image in the others")
    assert compare_audit(RUN, Store(tmp_path)).outcome == "absent"
    write_audit(tmp_path / AUDIT, found)
    assert not is_noted(tmp_path / AUDIT)
    write_audit(tmp_path / AUDIT, audit(RUN, honest))
    assert is_noted(tmp_path / AUDIT)


def test_what_is_noted_is_what_was_handed_out_and_not_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """A workbench with a fault, that hands a fit the test part's images: the note has their hashes."""
    test = RUN.test.truth.part
    handed = PartImages(ImageStage(test, None, ImageConfig(size=16)))
    monkeypatch.setattr(PartImages, "_pixels", lambda *_: np.zeros((16, 16, 3), np.uint8))
    handed.read([0, 4])
    handed.read([-1])
    assert handed.images_read() == {test.fingerprints[index].sha256 for index in (0, 4, 17)}
    assert read_by(Result({}, {IMAGES_READ: noted(handed.images_read())})) == handed.images_read()
