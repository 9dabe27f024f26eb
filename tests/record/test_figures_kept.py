"""What a run's record and MLflow keep: costs as they were spent, drops with their sign, no threshold of test images."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.answer.comparisons import regime_drops
from adloc.computing.compute import choose_threshold
from adloc.methods.detector import Result
from adloc.metrics.registry import METRICS
from adloc.planning.parts import StageMismatchError, TestPart, TrainPart, ValidationPart
from adloc.planning.stages import ThresholdStage
from adloc.record.recorder import costs, promises
from adloc.thresholds import ThresholdConfig
from adloc.tracking.experiment import Tracking
from adloc.tracking.index import TrackingIndex

if TYPE_CHECKING:
    from pathlib import Path


def samples(*labels: int) -> Any:
    """Of a part: their labels alone."""
    return tuple(SimpleNamespace(label=label) for label in labels)


def test_costs_are_what_the_run_took() -> None:
    """Features 2 s and steps of 3 + 4 s: 9 s of fit. Features 1.25 s, scoring .5 + .25 s of 4 images: 500 ms each."""
    step = lambda name, part: SimpleNamespace(step=SimpleNamespace(name=name, part=part), method="m", params=None)  # noqa: E731
    fit = [step("embed", "fit"), step("coreset", "fit")]
    search, score = step("search", "score"), step("score", "score")
    score.before = (*fit, search)
    results = {
        id(fit[0]): Result({}, {"features_s": 2.0}, 3.0), id(fit[1]): Result({}, {"features_s": 70.0}, 4.0),
        id(search): Result({}, {"features_s": 80.0}, 0.5), id(score): Result({}, {"features_s": 1.25}, 0.25),
    }  # fmt: skip
    detector = SimpleNamespace(
        fit_seconds=lambda found, _: sum(r.seconds for r in found.values()), model_bytes=lambda *_: 1_500_000
    )
    bench: Any = SimpleNamespace(detector=lambda _: detector, result=lambda s: results[id(s)], peak_bytes=2_000_000)
    evaluated: Any = SimpleNamespace(scores=score, truth=SimpleNamespace(part=range(4)))
    spent = costs(fit, evaluated, bench)  # type: ignore[arg-type]
    assert spent == {"fit_s": 9.0, "score_ms_per_image": 500.0, "model_mb": 1.5, "peak_memory_mb": 2.0}


@pytest.mark.parametrize(("regime", "expected"), [("clean", 2 / 4), ("threshold_only", 2 / 4), ("no_adaptation", None)])
def test_a_promise_is_kept_where_the_images_are_alike(regime: str, expected: float | None) -> None:
    """Just above the second highest of three normal scores one is flagged: (1 + 1) / (3 + 1); carried over: nothing."""
    part: Any = SimpleNamespace(samples=samples(0, 1, 0, 0))
    stage: Any = SimpleNamespace(
        parts=[part], scores=["s"], config=ThresholdConfig(objective="normal_quantile", fpr=0.4)
    )  # fmt: skip
    bench: Any = SimpleNamespace(result=lambda _: Result({"image_scores": np.array([1.0, 9.0, 2.0, 3.0])}))
    found = promises(SimpleNamespace(regime=regime), stage, bench, 2.5)  # type: ignore[arg-type]
    assert found["expected_fpr"] == expected
    assert (found["upper_fpr"] is None) == (expected is None)


@pytest.mark.parametrize("kind", [TestPart, TrainPart])
def test_no_threshold_is_chosen_on_another_part(kind: type[Any]) -> None:
    """A stage that holds test or training images is a bug, and is refused before a score is looked at."""
    scores = [Result({"image_scores": np.array([1.0, 2.0])})]
    threshold = lambda of: choose_threshold(  # noqa: E731
        ThresholdStage((), (of("a", "clean", samples(0, 1), (), None),), ThresholdConfig()), scores
    )  # fmt: skip
    assert threshold(ValidationPart).facts["threshold"] == 2
    with pytest.raises(StageMismatchError, match=kind.__name__):
        threshold(kind)


class Client:
    """Keeps what MLflow would be told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.metrics: dict[str, float] = {}

    def create_run(self, *_: object, **__: object) -> Any:
        """A run to write to."""
        return SimpleNamespace(info=SimpleNamespace(run_id="m"))

    def log_batch(self, _: str, metrics: list[Any], **__: object) -> None:
        """Keep the metrics."""
        self.metrics |= {m.key: m.value for m in metrics}

    def set_terminated(self, *_: object) -> None:
        """Nothing to keep."""


def row(**values: Any) -> dict[str, Any]:
    """A macro row with no metric but those given."""
    base = {
        "study": "s", "category": "macro", "method": "patchcore", "regime": "clean", "scope": "category",
        "threshold_scope": "category", "repeat": 0, "run_id": "r", "status": "done", "setting": "", "n_train": 1,
        "n_val": 1, "n_test": 1,
    }  # fmt: skip
    return {**base, **dict.fromkeys(METRICS), **values}


def test_mlflow_shows_a_loss_as_a_positive_drop(tmp_path: Path) -> None:
    """AUROC .9 to .6 is +.3, false alarms .1 to .5 are +.4, as in the tables; beside the figures themselves."""
    shifted = row(regime="no_adaptation", image_auroc=0.6, image_fpr=0.5, domain="shift")
    (drops,) = regime_drops([row(image_auroc=0.9, image_fpr=0.1), shifted])
    tracking = Tracking.__new__(Tracking)
    client: Any = Client()
    runs: Any = SimpleNamespace(create=lambda *_: "run", delete=lambda _: None, remember=lambda *_: None)
    tracking.__dict__ |= {
        "_spec": SimpleNamespace(study="s"), "_param_names": [], "_varied": [], "_client": client,
        "_index": TrackingIndex(tmp_path / "index.json"), "_runs": runs,
    }  # fmt: skip
    tracking.log_macro(shifted, {}, drops)
    assert client.metrics["drop/image_auroc"] == pytest.approx(0.3)
    assert client.metrics["drop/image_fpr"] == pytest.approx(0.4)
    assert client.metrics["drop/relative_drop"] == pytest.approx(0.3 / 0.9)
    assert client.metrics[METRICS["image_auroc"].mlflow_name] == 0.6
    assert "drop/image_f1" not in client.metrics
