"""What the rows of a study say together: drops under shift, unified against separate models, repeats.

Pure: rows in, rows out. A drop is how much worse a run is than its partner, which differs in one thing alone
(the regime, or the scope): positive is worse, whichever direction of the metric is better.
"""

from __future__ import annotations

import math
from functools import lru_cache
from operator import itemgetter
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.results import MACRO, SIZES, WHO, Cell, Row
from adloc.metrics.registry import CHOICES, METRICS
from adloc.study_file.conditions import AXES, OF_THE_SHIFT
from adloc.uncertainty.resampling import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adloc.metrics.registry import Metric

COMPARED = CHOICES
# The mean of relative drops stays over these: one metric more would move it for the same detector.
RELATIVE = ("image_auroc", "image_auprc", "image_f1", "image_accuracy", "image_precision", "image_recall",
            "pixel_auroc", "pixel_aupro", "pixel_aupro_005")  # fmt: skip
HEADLINE = ("image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")
_DROPS = tuple(f"drop_{name}" for name in COMPARED)
_HIGHER_IS_BETTER = [METRICS[name].better == "higher" for name in COMPARED]
_FIGURES_OF = itemgetter(*COMPARED)
IDENTITY = tuple(name for name in WHO if name not in ("run_id", "status"))


def regime_drops(rows: Sequence[Row]) -> list[Row]:
    """Each run under shift against the same run under `clean`: a drop for each metric, and their relative mean.

    `relative_drop` averages drop / clean over the metrics where higher is better and that both have. With the
    rows' own `image_fpr` and `image_fnr` it says whether the carried-over threshold still serves.
    """
    return _drops(rows, "regime", "clean", OF_THE_SHIFT)  # clean is the partner of every severity


def scope_drops(rows: Sequence[Row]) -> list[Row]:
    """Each run of the unified model against the category's own model, with its own threshold."""
    return _drops(rows, "scope", "category", ("threshold_scope",))


def repeat_statistics(rows: Sequence[Row]) -> list[Row]:
    """Mean, standard deviation (n - 1) and 95 % t interval of the mean over the repeats, a row a metric.

    The interval is cut at the ends of the metric's range, which few repeats of a good detector would cross.
    """
    groups: dict[tuple[Cell, ...], list[Row]] = {}
    for row in rows:
        if row["status"] == "done":
            groups.setdefault(identity(row, "repeat"), []).append(row)
    found: list[Row] = []
    for group in groups.values():
        if len(group) < 2:  # noqa: PLR2004  # one repeat has no spread
            continue
        for name in METRICS:
            values = [float(v) for v in (row[name] for row in group) if isinstance(v, int | float)]
            if len(values) < len(group):
                continue
            between = mean_interval(values, METRICS[name])
            who = {k: v for k, v in group[0].items() if _identifies(k)}
            del who["repeat"]
            found.append(
                {**who, "metric": name, "n_repeats": len(values), "mean": fmean(values), "std": stdev(values)}
                | {"ci95_low": between.low, "ci95_high": between.high}
            )
    return found


def mean_interval(values: Sequence[float], metric: Metric) -> Interval:
    """95 % t interval of the mean over repeats, cut at the ends of the metric's range; nan for fewer than two."""
    from scipy.stats import t

    if len(values) < 2:  # noqa: PLR2004  # one repeat has no spread
        return Interval(math.nan, math.nan)
    mean, half = fmean(values), float(t.ppf(0.975, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Interval(max(mean - half, metric.low), min(mean + half, metric.high))


def identical_shortcut(rows: Sequence[Row], normal_scores: Mapping[str, Sequence[float]]) -> list[Row]:
    """For every ordered pair of categories (A, B): the share of A's normal test images that B's threshold flags.

    Under one unified model; on the diagonal stands the false-positive rate of each category's own threshold.
    You et al., A Unified Model for Multi-class Anomaly Detection, NeurIPS 2022.

    Args:
        rows: of runs.
        normal_scores: image scores of the normal test images, by run_id.
    """
    models: dict[tuple[Cell, ...], list[Row]] = {}
    for row in rows:
        own_threshold = row["scope"] == "unified" and row["threshold_scope"] == "category"
        if own_threshold and row["category"] != MACRO and row["threshold"] is not None:
            models.setdefault(identity(row, "category"), []).append(row)
    found: list[Row] = []
    for model in models.values():
        for a in model:
            scores = normal_scores[str(a["run_id"])]
            for b in model:
                threshold = float(b["threshold"] or 0.0)
                share = sum(score >= threshold for score in scores) / len(scores) if scores else None
                who = {k: v for k, v in a.items() if _identifies(k)}
                del who["category"]
                images_of: Row = {"images_of": a["category"], "threshold_of": b["category"]}
                found.append({**who, **images_of, "flagged": share, "n_images": len(scores)})
    return found


def _drops(rows: Sequence[Row], axis: str, base: str, also_ignored: Sequence[str]) -> list[Row]:
    ignored = (axis, *also_ignored)
    others = [row for row in rows if row[axis] != base and row["status"] == "done"]
    against = [row for row in rows if row[axis] == base] if others else []
    bases = dict(zip(identities(against, *ignored), against, strict=True))
    own_names = _identifying(tuple(*others[:1]), ())  # a table has the same columns in all
    partners = map(bases.get, identities(others, *ignored))
    pairs = [(of, row) for of, row in zip(partners, others, strict=True) if of is not None and of["status"] == "done"]
    found: list[Row] = []
    for (partner, row), of_metrics in zip(pairs, _metric_drops(pairs), strict=True):
        drops = dict(zip(COMPARED, of_metrics, strict=True))
        relative = [
            drop / float(was) for name in RELATIVE if (was := partner[name]) and (drop := drops[name]) is not None
        ]
        own = {name: row[name] for name in own_names}
        kept: Row = {name: row.get(name) for name in ("image_fpr", "image_fnr")}
        columns: Row = dict(zip(_DROPS, of_metrics, strict=True))
        found.append(
            {**own, "against": base, "relative_drop": fmean(relative) if relative else None, **columns, **kept}
        )
    return found


def _metric_drops(pairs: Sequence[tuple[Row, Row]]) -> list[list[float | None]]:
    """How much worse the second row of each pair is in each of COMPARED; None where one lacks the figure."""
    if not pairs:
        return []
    before, after = (np.array(list(map(_FIGURES_OF, rows)), dtype=np.float64) for rows in zip(*pairs, strict=True))
    worse = np.where(_HIGHER_IS_BETTER, before - after, after - before).tolist()
    return [[None if math.isnan(each) else each for each in of_pair] for of_pair in worse]


def identity(row: Row, *ignored: str) -> tuple[Cell, ...]:
    """What a row or a drop is of, but for some of it."""
    return tuple(map(row.__getitem__, _identifying(tuple(row), ignored)))


def identities(rows: Sequence[Row], *ignored: str) -> list[tuple[Cell, ...]]:
    """The `identity` of every row of one table, whose rows have the same columns."""
    if not rows:
        return []
    names = _identifying(tuple(rows[0]), ignored)
    return [tuple(map(row.__getitem__, names)) for row in rows]


@lru_cache(maxsize=256)  # the rows of a table have the same columns
def _identifying(columns: tuple[str, ...], ignored: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in columns if _identifies(name) and name not in (*ignored, *SIZES))


def _identifies(column: str) -> bool:
    return column in IDENTITY or column in AXES or column.startswith("params.")
