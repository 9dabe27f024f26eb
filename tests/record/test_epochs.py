"""How scores went over a training: what is recorded of it, and what the report says."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.methods.detector import Result
from adloc.methods.method import Step
from adloc.methods.uniad.params import UNIAD
from adloc.record.epochs import Epochs, read_epochs, write_epochs
from adloc.record.recorder import needed
from adloc.report.sections.training import training
from adloc.study import prepare
from adloc.workspace import Workspace
from handmade import finding, images, material, setting

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.finding import Finding

SCORES = np.array([[1, 3, 4, 8], [2, 2, 1, 9], [0, 0, 1, 1]], np.float32)
LABELS = np.array([False, False, True, True])
EPOCHS = np.array([1, 4, 9])
STUDY = """\
study: trained
dataset: {kind: textures, categories: [brick], n_train: 10, n_test_good: 5, n_per_defect: 4}
methods:
  - method: uniad
    params: {backbone: efficientnet_lite0, epochs: 2}
  - method: patchcore
    params: {backbone: efficientnet_lite0, reweight: none}
"""


def test_scores_are_averaged_over_each_class() -> None:
    """Means by hand; of four pairs of normal and anomalous image all, then half, then all are ranked right."""
    found = Epochs.of(EPOCHS, SCORES, LABELS)
    assert found.epochs == (1, 4, 9)
    assert found.normal == (2, 2, 0)
    assert found.anomalous == (6, 5, 1)
    assert found.image_auroc == (1, 0.5, 1)
    assert found.ratio[:2] == (3, 2.5)
    assert math.isnan(found.ratio[2])


def run_on(part_labels: dict[str, list[int]]) -> Any:
    """A run that has only what is read here: parts with these labels."""
    samples = {name: [SimpleNamespace(label=label) for label in labels] for name, labels in part_labels.items()}
    stages = {
        name: SimpleNamespace(source=SimpleNamespace(part=SimpleNamespace(samples=s))) for name, s in samples.items()
    }
    return SimpleNamespace(over_epochs=stages)


def test_what_is_recorded_reads_back(tmp_path: Path) -> None:
    """Both parts; a part without defects has no mean of them, and JSON no NaN."""
    bench: Any = SimpleNamespace(result=lambda _: Result({"epochs": EPOCHS, "image_scores": SCORES}))
    write_epochs(tmp_path / "epochs.json", run_on({"validation": [0, 0, 0, 0], "test": [0, 0, 1, 1]}), bench)
    assert "NaN" not in (tmp_path / "epochs.json").read_text()
    read = read_epochs(tmp_path / "epochs.json")
    assert read["test"] == Epochs.of(EPOCHS, SCORES, LABELS)
    assert read["validation"].normal == pytest.approx((4, 3.5, 0.5))
    assert all(math.isnan(value) for value in read["validation"].anomalous)


def test_a_run_that_was_not_trained_in_epochs_records_nothing(tmp_path: Path) -> None:
    """No file, and nothing is read from none."""
    write_epochs(tmp_path / "epochs.json", run_on({}), SimpleNamespace())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    assert read_epochs(tmp_path / "epochs.json") == {}


def test_both_parts_are_scored_over_the_epochs_and_no_figure_waits_for_it(tmp_path: Path) -> None:
    """A step of its own on validation and test part, which neither threshold nor evaluation nor cost reads."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    trained, other = prepare(file, (), Workspace(tmp_path / "ws"), download=False).plan.runs
    assert list(trained.over_epochs) == ["validation", "test"]
    for name, view in (("validation", trained.validation), ("test", trained.test)):
        stage = trained.over_epochs[name]
        assert view is not None
        assert stage.source.part is view.truth.part
        assert stage.before == trained.fit
        assert stage in needed(trained)
        assert stage.key in {each.key for each in trained.stages()}
        assert stage not in view.scores.before
    assert isinstance(UNIAD.over_epochs, Step)
    assert UNIAD.over_epochs not in UNIAD.steps
    assert not other.over_epochs


def course(of: Finding, normal: tuple[float, ...], anomalous: tuple[float, ...]) -> Finding:
    """The run with these means on its validation part, and others on its test part."""
    area = (0.5, 0.9, 0.7)
    validation = Epochs((1, 5, 10), normal, anomalous, area)
    of.__dict__["epochs"] = {"validation": validation, "test": Epochs((1, 5, 10), (9.0,) * 3, (9.0,) * 3, area)}
    return of


def test_the_report_tells_how_scores_fell_and_what_became_of_their_ratio() -> None:
    """Defects go from 4 to 1, normal images from 2 to 1: ratios 2, 3, 1. The test part is in the table alone."""
    one, part = setting("one"), images([1, 2], [0, 1])
    runs = [
        course(finding(one, part, category="a"), (2.0, 1.0, 1.0), (4.0, 3.0, 1.0)),
        course(finding(one, part, category="b"), (2.0, 1.0, 1.0), (4.0, 3.0, 1.0)),
    ]
    section = training(material(runs))
    assert section is not None
    (told,) = section.text
    assert "from epoch 1 to 10 the score of defects falls to 25% of what it was, that of normal images to 50%" in told
    assert "2.00 times as high as normal images at first, 1.00 times at the end, and 3.00 times after epoch 5" in told
    assert "Validation image AUROC: 0.500, at the end 0.700, at best 0.900" in told
    assert [f.name for f in section.figures] == ["training_errors_0_one_category", "training_ratio", "training_auroc"]
    (table,) = section.tables
    assert len(table.rows) == 2 * 2 * 3
    assert {row[2].text for row in table.rows} == {"validation", "test"}


def test_settings_that_share_a_model_are_told_once_and_others_not_at_all() -> None:
    """A second threshold is no second training; a method without epochs, and a part without defects, has no curve."""
    part = images([1, 2], [0, 1])
    own, all_ = (
        setting(f"m{n}", n, method="m", scope="unified", threshold_scope=s)
        for n, s in enumerate(("category", "global"))
    )
    runs = [course(finding(s, part), (2.0, 1.0, 1.0), (4.0, 3.0, 1.0)) for s in (own, all_)]
    section = training(material(runs))
    assert section is not None
    assert len(section.text) == 1
    untrained = finding(setting("n"), part)
    untrained.__dict__["epochs"] = {}
    assert training(material([untrained])) is None
    lacking = course(finding(setting("o"), part), (2.0, 1.0, 1.0), (math.nan,) * 3)
    assert training(material([lacking])) is None
