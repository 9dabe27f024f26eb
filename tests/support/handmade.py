"""Records made by hand, for tests that know the figures beforehand: on disk for a plan, or in memory without one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from adloc.answer.answer import Answer
from adloc.answer.comparisons import regime_drops, repeat_statistics, scope_drops
from adloc.answer.finding import Finding, Images, Setting
from adloc.answer.material import Material, gather
from adloc.answer.paired import Comparison
from adloc.answer.results import recorded, table
from adloc.record.records import RunRecord
from adloc.study_file.axes import StudyShift
from adloc.study_file.comparing import ComparisonConfig
from adloc.study_file.conditions import Condition
from adloc.thresholds import ThresholdConfig
from adloc.uncertainty.resampling import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adloc.datasets.sample import Fingerprint, Picture, Sample
    from adloc.planning.plan import Run
    from adloc.study import Study

STARTED = "2026-01-01T00:00:00+00:00"


class Nowhere:
    """An image that is never read: plans look at identities alone."""

    location = "nowhere"

    def read(self) -> Picture:
        """Never called."""
        raise AssertionError

    def fingerprint(self) -> Fingerprint:
        """Never called."""
        raise AssertionError


def record(**values: Any) -> RunRecord:
    """Of a run that is done: PatchCore on clean bricks, unless said otherwise."""
    base = {
        "study": "s", "run_id": "r", "key": "k", "group": "g", "category": "brick", "method": "patchcore",
        "regime": "clean", "scope": "category", "threshold_scope": "category", "repeat": 0, "status": "done",
        "params": {}, "n_train": 100, "n_val": 1, "n_test": 50, "started": STARTED, "seconds": 1.0,
    }  # fmt: skip
    return RunRecord.model_validate(base | values)


def record_of(run: Run, **values: Any) -> RunRecord:
    """Of a planned run."""
    own = {
        "run_id": run.run_id, "key": run.key, "group": run.group, "category": run.category,
        "method": run.variant.method.name, "regime": run.regime, "scope": run.scope, "repeat": run.repeat,
        "threshold_scope": run.threshold_scope, "params": run.variant.hyperparameters(), "setting": run.variant.setting,
        "condition": run.condition.values(),
    }  # fmt: skip
    return record(**own | values)


def images(scores: Sequence[float], labels: Sequence[int], defects: Sequence[str] = ()) -> Images:
    """A part of these images; anomalous ones have a "crack" unless their defects are named."""
    truth = np.array(labels, dtype=bool)
    kinds = tuple(defects) or tuple("crack" if label else "good" for label in truth)
    names = tuple(f"brick/{index}.png" for index in range(truth.size))
    return Images(names, kinds, truth, np.array(scores, dtype=np.float64))


def part_of(samples: Sequence[Sample], scores: Sequence[float]) -> Images:
    """Of these samples of a dataset."""
    return Images(
        tuple(f"{s.category}/{s.name}" for s in samples),
        tuple(s.defect for s in samples),
        np.array([bool(s.label) for s in samples]),
        np.array(scores, dtype=np.float64),
    )


def images_of(run: Run, score: Callable[[Sample], float]) -> dict[str, Images]:
    """Both parts of a planned run, each image with its score."""
    views = {"validation": run.validation, "test": run.test}
    parts = {name: view.truth.part.samples for name, view in views.items() if view is not None}
    return {name: part_of(samples, [score(s) for s in samples]) for name, samples in parts.items() if samples}


def write(folder: Path, made: RunRecord, parts: Mapping[str, Images]) -> None:
    """A record's folder, without pixels and pictures."""
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(made.model_dump_json())
    (folder / "curves.json").write_text("{}")
    rows = ["part,category,name,label,defect,score,anomalous"]
    for part, of in parts.items():
        for name, defect, label, score in zip(of.names, of.defects, of.labels, of.scores, strict=True):
            category, _, rest = name.partition("/")
            rows.append(f"{part},{category},{rest},{int(label)},{defect},{float(score)!r},0")
    (folder / "images.csv").write_text("\n".join(rows))


def write_records(
    study: Study, values: Callable[[Run], dict[str, Any]], score: Callable[[Run, Sample], float]
) -> None:  # fmt: skip
    """A record for every planned run, with these fields and image scores."""
    for run in study.plan.runs:
        parts = images_of(run, lambda sample, run=run: score(run, sample))  # type: ignore[misc]
        write(study.records.path(run.run_id), record_of(run, **values(run)), parts)


def gathered(study: Study) -> Material:
    """What the records of a study amount to."""
    found = recorded(study.plan, study.records)
    return gather(study.plan, study.records, found)


def setting(key: str, index: int = 0, **values: Any) -> Setting:
    """A setting that is called by its key, of a method of that name unless another is given."""
    base = {
        "key": key, "method": key, "label": key, "params": {}, "scope": "category", "threshold_scope": "category",
        "index": index,
    }  # fmt: skip
    return Setting(**base | values)


def finding(of: Setting, test: Images, validation: Images | None = None, **values: Any) -> Finding:
    """A run with these images, in memory."""
    who = {"method": of.method, "params": dict(of.params), "scope": of.scope, "threshold_scope": of.threshold_scope}
    made = record(**who | values)
    group = f"{of.key}_{made.regime}_{made.repeat}"
    made = made.model_copy(update={"run_id": f"{group}_{made.category}", "group": group})
    found = Finding(made, of, Path("nowhere"), 1000, 42, {})
    found.__dict__["images"] = {"test": test} | ({} if validation is None else {"validation": validation})
    return found


def material(findings: Sequence[Finding], answer: Answer | None = None, **spec: Any) -> Material:
    """What these runs amount to; keywords are of the study: repeats, comparison, thresholds and so on.

    Without an answer it has the rows of the records, their repeats, and what each regime and the unified model lose.
    """
    base = {
        "repeats": 1, "seed": 42, "comparison": ComparisonConfig(margin=0.01), "shift": StudyShift(),
        "thresholds": ThresholdConfig(), "tuning": SimpleNamespace(objectives=["val_image_auroc"]),
    }  # fmt: skip
    records = tuple(f.record for f in findings)
    runs = [SimpleNamespace(run_id=r.run_id, group=r.group, condition=Condition()) for r in records]
    plan: Any = SimpleNamespace(
        spec=SimpleNamespace(**base | spec),
        parts=dict.fromkeys(r.category for r in records),
        runs=runs,
        absent=(),
        targets={},
    )
    if answer is None:
        rows = table(plan, records)
        repeats = repeat_statistics(rows) if plan.spec.repeats > 1 else []
        answer = Answer(rows, regime_drops(rows), scope_drops(rows), [], repeats)
    settings = tuple(dict.fromkeys(f.setting for f in findings))
    found = Material(plan, lambda: answer, records, tuple(findings), settings)
    found.__dict__["answer"] = answer
    return found


def compared_by_hand(
    first: Setting,
    second: Setting,
    difference: float,
    *,
    equivalence: tuple[float, float] = (0.12, 0.28),
    **values: Any,
) -> Comparison:
    """Two settings on clean bricks, told apart at a corrected p of .01 unless said otherwise."""
    base = {
        "regime": "clean", "category": "brick", "metric": "image_auroc", "interval": Interval(0.1, 0.3),
        "margin": 0.01, "test": "DeLong", "p": 0.001, "figures": frozenset("ab"), "p_holm": 0.01,
    }  # fmt: skip
    return Comparison(
        first=first, second=second, difference=difference, equivalence=Interval(*equivalence), **base | values
    )
