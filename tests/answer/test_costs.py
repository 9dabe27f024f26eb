"""Costs are of what one must compute, fit and ship: nothing that only the study needs, and all of what it takes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from adloc.answer.results import table
from adloc.computing import features
from adloc.computing.features import FeatureExtraction
from adloc.computing.store import Store
from adloc.planning import parts
from adloc.study import prepare
from adloc.study_file.conditions import Condition
from adloc.workspace import Workspace
from handmade import record

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: costs
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
regimes: [clean, full_adaptation]
methods:
  - {{method: patchcore, params: {{backbone: efficientnet_lite0}}}}
"""


class Clock:
    """A clock that stands still but for what it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        """Seconds."""
        return self.now


@pytest.mark.parametrize(("regime", "seconds"), [("clean", 2.0), ("full_adaptation", 2.0)])
def test_simulating_the_shift_is_no_cost(
    regime: str, seconds: float, mvtec_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparing an image takes 2 s and shifting it 100: either domain's features took 2 s an image."""
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    study = prepare(path, [], Workspace(tmp_path), download=False)
    stage = next(run for run in study.plan.runs if run.regime == regime).fit[0].source
    clock = Clock()
    prepare_image, apply_shift = features.prepare_image, parts.apply_shift
    shifted: list[object] = []

    def prepared(*arguments: Any) -> Any:
        clock.now += 2
        return prepare_image(*arguments)

    def simulated(*arguments: Any) -> Any:
        clock.now += 100
        shifted.append(arguments)
        return apply_shift(*arguments)

    monkeypatch.setattr(features, "time", clock)
    monkeypatch.setattr(features, "prepare_image", prepared)
    monkeypatch.setattr(parts, "apply_shift", simulated)
    store = Store(tmp_path / "store")
    extraction = FeatureExtraction(store, torch.device("cpu"), batch_size=2)
    assert extraction.run(stage, ("layer1",), lambda _done, _total: None, [0, 1]) == 2
    assert len(shifted) == (0 if regime == "clean" else 2)
    for image in (0, 1):
        kept = store.get("features", stage.image_keys[image])
        assert kept is not None
        assert kept.seconds == seconds


@pytest.mark.parametrize(
    ("scope", "sizes", "fits"),
    [("category", (1.41, 1.41), (3.0, 5.0)), ("unified", (2.82, 2.82), (8.0, 8.0))],
)
def test_one_model_for_two_categories_is_as_large_as_two_of_half_its_size(
    scope: str, sizes: tuple[float, float], fits: tuple[float, float]
) -> None:
    """Two models of 1.41 MB, fitted in 3 and 5 s, and one of 2.82 in 8 s: 2.82 MB and 8 s; scoring is a mean."""
    found = [
        record(
            run_id=f"r{i}",
            category=name,
            scope=scope,
            metrics={"model_mb": sizes[i], "fit_s": fits[i], "score_ms_per_image": (10.0, 20.0)[i]},
        )
        for i, name in enumerate("ab")
    ]
    runs = [SimpleNamespace(group="g", run_id=r.run_id, condition=Condition()) for r in found]
    plan: Any = SimpleNamespace(runs=runs, parts={"a": None, "b": None})
    (macro,) = [row for row in table(plan, found) if row["category"] == "macro"]
    assert macro["model_mb"] == pytest.approx(2.82)
    assert macro["fit_s"] == 8
    assert macro["score_ms_per_image"] == 15


def test_the_size_of_all_is_unknown_where_a_category_lacks_it() -> None:
    """No sum of a part is shown as the whole."""
    found = [record(run_id="r0", category="a", metrics={"model_mb": 1.0}), record(run_id="r1", category="b")]
    plan: Any = SimpleNamespace(
        runs=[SimpleNamespace(group="g", run_id=r.run_id, condition=Condition()) for r in found],
        parts={"a": None, "b": None},
    )
    assert table(plan, found)[-1]["model_mb"] is None
