"""What two studies, or two runs, differ in: spec, data, environment, metrics, and images judged another way.

From the records alone: neither images nor weights need to be there.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adloc.errors import Complaint, UserError
from adloc.metrics.registry import METRICS
from adloc.record.records import Records, planned_runs
from adloc.study_file.conditions import described
from adloc.study_file.reader import StudyFile
from adloc.study_file.validation import load_study

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from adloc.record.records import ImageScore, RunRecord
    from adloc.workspace import Workspace


MATCHED = ("category", "method", "setting", "regime", "scope", "threshold_scope", "repeat")


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two things compared.

    Attributes:
        name: as it was given.
        spec: resolved, as dotted keys; of a run its study's.
        runs: records by run_id.
        records: where they are.
    """

    name: str
    spec: Mapping[str, object]
    runs: Mapping[str, RunRecord]
    records: Records


@dataclass(frozen=True, slots=True)
class RunPair:
    """Two runs of the same question, one of each side.

    Attributes:
        what: category, method, regime and so on.
        first: run_id.
        second: run_id.
        params: parameters that differ, with both values.
        data: parts whose images differ, with how many are on one side only.
        environment: versions, device and commit that differ.
        metrics: metrics that differ, with both values; None where one is not defined.
        flipped: test images of both with another verdict, each as (image, verdict of first, verdict of second).
        noise: in words, whether the difference of image AUROC is more than noise; "" where images differ.
    """

    what: str
    first: str
    second: str
    params: Mapping[str, tuple[object, object]]
    data: Mapping[str, str]
    environment: Mapping[str, tuple[str, str]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    flipped: tuple[tuple[str, str, str], ...]
    noise: str


@dataclass(frozen=True, slots=True)
class Differences:
    """Everything in which A and B differ.

    Attributes:
        spec: dotted keys with both values; "nothing" where a side lacks it.
        pairs: runs of both.
        only_first: run_ids that have no partner.
        only_second: the same of the other side.
    """

    spec: Mapping[str, tuple[object, object]]
    pairs: tuple[RunPair, ...]
    only_first: tuple[str, ...] = field(default_factory=tuple)
    only_second: tuple[str, ...] = field(default_factory=tuple)


def compare(a: str, b: str, workspace: Workspace) -> Differences:
    """Compare two studies or two runs.

    Args:
        a: a study file, the folder of a study in some workspace, or the name of a study or a run_id of this workspace.
        b: the same.
        workspace: where the records are.

    Raises:
        UserError: no such study or run, or nothing is recorded of it.
    """
    first, second = _side(a, workspace), _side(b, workspace)
    matched, only_first, only_second = _match(first.runs.values(), second.runs.values())
    spec = {
        key: (first.spec.get(key, "nothing"), second.spec.get(key, "nothing"))
        for key in (*first.spec, *(k for k in second.spec if k not in first.spec))
        if first.spec.get(key, "nothing") != second.spec.get(key, "nothing")
    }
    pairs = tuple(_pair(one, other, first.records, second.records) for one, other in matched)
    return Differences(spec, pairs, tuple(r.run_id for r in only_first), tuple(r.run_id for r in only_second))


def _side(name: str, workspace: Workspace) -> Side:
    path = Path(name)
    if path.is_dir():
        return _study(name, path)
    if path.is_file() or path.suffix in (".yaml", ".yml"):
        _, spec = load_study(path, ())
        workspace.pull(spec.study)
        side = _study(name, workspace.study_path(spec.study))
        return Side(name, dict(_flat(spec.resolved())), side.runs, side.records)
    if (named := workspace.studies_path() / name).is_dir():
        return replace(_study(name, named), spec=_spec_of(named))
    for folder in sorted(workspace.studies_path().glob("*")):
        records = Records(folder)
        record = records.get(name)
        if record is not None:
            return Side(name, _spec_of(folder), {record.run_id: record}, records)
    raise UserError(
        Complaint(
            f"{name}: no such file, and no run of that name in {workspace.location}",
            "A and B are study files, folders of studies in a workspace, or run_ids",
            "see the run_ids with `adloc study results FILE --format csv`, or give --workspace",
        )
    )


def _study(name: str, folder: Path) -> Side:
    """The runs of the study's last plan that are done."""
    records = Records(folder)
    found = {r.run_id: r for r in records.all() if r.status == "done"}
    if (ids := planned_runs(folder)) is not None:  # else all that is recorded
        planned = set(ids)
        found = {k: r for k, r in found.items() if k in planned}
    if not found:
        raise UserError(
            Complaint(
                f"{name}: no run is recorded in {folder}",
                "what is compared are the records of runs",
                "run the study first, or give the --workspace that it ran in",
            )
        )
    return Side(name, _spec_of(folder), found, records)


def _spec_of(folder: Path) -> dict[str, object]:
    path = folder / "study.yaml"
    return dict(_flat(StudyFile(path).data)) if path.exists() else {}


def _flat(value: Any, path: str = "") -> Iterable[tuple[str, object]]:  # noqa: ANN401  # YAML
    """Leaves by dotted key."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(v, dict) for v in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, value


def _match(
    first: Iterable[RunRecord], second: Iterable[RunRecord]
) -> tuple[list[tuple[RunRecord, RunRecord]], list[RunRecord], list[RunRecord]]:
    """Runs of the same category, method, regime, scope and repeat: those with the most parameters in common."""
    left, right = list(first), list(second)
    if len(left) == len(right) == 1:  # two runs were named: whatever they differ in is the answer
        return [(left[0], right[0])], [], []
    candidates = sorted(
        ((_distance(a, b), i, j) for i, a in enumerate(left) for j, b in enumerate(right) if _who(a) == _who(b)),
    )
    pairs: dict[int, int] = {}
    for _, i, j in candidates:
        if i not in pairs and j not in pairs.values():
            pairs[i] = j
    rest = [b for j, b in enumerate(right) if j not in pairs.values()]
    matched = [(left[i], right[j]) for i, j in sorted(pairs.items())]
    return matched, [a for i, a in enumerate(left) if i not in pairs], rest


def _who(record: RunRecord) -> tuple[object, ...]:
    return tuple(getattr(record, name) for name in MATCHED)


def _distance(a: RunRecord, b: RunRecord) -> int:
    """How many parameters and axes differ."""
    sides = ((a.params, b.params), (a.condition, b.condition))
    return sum(one.get(k) != other.get(k) for one, other in sides for k in {*one, *other})


def _pair(a: RunRecord, b: RunRecord, of_a: Records, of_b: Records) -> RunPair:
    what = (
        [w for w in (a.category, a.method, a.setting, a.regime) if w]
        if _who(a) == _who(b)
        else [f"{a.run_id} and {b.run_id}"]
    )
    if a.scope == b.scope == "unified":
        what.append(f"unified, {a.threshold_scope} threshold")
    if a.condition == b.condition:
        what += described(a.condition)
    if a.repeat:
        what.append(f"repeat {a.repeat}")
    values = {**a.metrics, "threshold": a.threshold}, {**b.metrics, "threshold": b.threshold}
    metrics = {
        name: (values[0].get(name), values[1].get(name))
        for name in METRICS
        if values[0].get(name) != values[1].get(name)
    }
    one, other = of_a.image_scores(a.run_id, "test"), of_b.image_scores(b.run_id, "test")
    return RunPair(
        " ".join(what),
        a.run_id,
        b.run_id,
        {
            k: (a.params.get(k, "nothing"), b.params.get(k, "nothing"))
            for k in (*a.params, *(k for k in b.params if k not in a.params))
            if a.params.get(k, "nothing") != b.params.get(k, "nothing")
        },
        _data(a, b, of_a, of_b),
        {
            k: (a.environment.get(k, "nothing"), b.environment.get(k, "nothing"))
            for k in sorted({*a.environment, *b.environment})
            if a.environment.get(k) != b.environment.get(k)
        },
        metrics,
        tuple(_flipped(one, a.threshold, other, b.threshold)),
        _noise(one, other),
    )


def _data(a: RunRecord, b: RunRecord, of_a: Records, of_b: Records) -> dict[str, str]:
    """By part whose digest differs: how many images are on one side only, and how many have other content."""
    parts = [p for p in {**a.datasets, **b.datasets} if a.datasets.get(p) != b.datasets.get(p)]
    if not parts:
        return {}
    manifests = [_manifest(r.path(run.run_id) / "manifest.csv") for r, run in ((of_a, a), (of_b, b))]
    found: dict[str, str] = {}
    for part in parts:
        one, other = (m.get(part, {}) for m in manifests)
        only = len(one.keys() - other.keys()), len(other.keys() - one.keys())
        changed = sum(one[k] != other[k] for k in one.keys() & other.keys())
        words = [
            f"{only[0]} images only in the first" if only[0] else "",
            f"{only[1]} only in the second" if only[1] else "",
        ]
        words.append(f"{changed} with other pixels, mask or shift" if changed else "")
        found[part] = ", ".join(w for w in words if w) or "the same images, with other masks or another shift"
    return found


def _manifest(path: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """By part: what identifies each image."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = f"{row['category']}/{row['path']}"
            found.setdefault(row["part"], {})[name] = (row["domain"], row["sha256"], row.get("shift") or "")
    return found


def _flipped(
    one: Sequence[ImageScore], threshold: float | None, other: Sequence[ImageScore], other_threshold: float | None
) -> Iterable[tuple[str, str, str]]:
    if threshold is None or other_threshold is None:
        return
    second = {image.image: image for image in other}
    for image in one:
        partner = second.get(image.image)
        if partner is None:
            continue
        verdicts = [_verdict(image, threshold), _verdict(partner, other_threshold)]
        if verdicts[0] != verdicts[1]:
            yield image.image, verdicts[0], verdicts[1]


def _verdict(image: ImageScore, threshold: float) -> str:
    if image.score >= threshold:
        return "hit" if image.anomalous else "false alarm"
    return "miss" if image.anomalous else "correct rejection"


def _noise(one: Sequence[ImageScore], other: Sequence[ImageScore]) -> str:
    """DeLong's test of the image AUROCs, where the test images are the same."""
    import numpy as np

    from adloc.uncertainty.delong import compare_aurocs

    labels = np.array([image.anomalous for image in one])
    if [i.image for i in one] != [i.image for i in other] or min(labels.sum(), (~labels).sum()) < 2:  # noqa: PLR2004
        return ""
    scores = [np.array([image.score for image in side]) for side in (one, other)]
    found = compare_aurocs(scores[0], scores[1], labels)
    if math.isnan(found.p):
        return ""
    beyond = found.p < 0.05  # noqa: PLR2004
    side = "beyond the noise" if beyond else "inside the noise"
    return f"image AUROC differs by {-found.difference:+.4f}, {side} (DeLong p {found.p:.3g})"
