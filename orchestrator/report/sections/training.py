"""How a model came to score as it does: reconstruction errors of normal images and of defects over the epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from adloc.report.charts.figure import Figure, safe
from adloc.report.charts.lines import Axis, Series, line_chart
from adloc.report.section import Section
from adloc.report.tables import Table, count, figure, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from adloc.answer.finding import Setting
    from adloc.answer.material import Material
    from adloc.record.epochs import Epochs
    from adloc.report.tables import Cell

SCOPES = ("category", "unified")
MOST_SETTINGS = 12
NOTE = (
    "Means over the images of the validation part, then over categories; the table has the test part too, for show: "
    "nothing is chosen by either, the model is always that of the last epoch. A network that learns to copy whatever "
    "it is given (the identical shortcut, You et al. 2022) scores defects ever lower: their errors fall as those of "
    "normal images do, and what counts is whether the ratio of the two falls as well."
)


def training(material: Material) -> Section | None:
    """Errors over the epochs of every setting that was trained in epochs; none without one."""
    courses = {setting: found for setting in _settings(material) if (found := _of_validation(material, setting))}
    if not courses:
        return None
    shown = dict(list(courses.items())[:MOST_SETTINGS])
    figures = (*_errors(shown), *_compared(shown))
    text = tuple(_told(setting, found) for setting, found in shown.items())
    return Section("training", "Scores over the training", text, (_table(material, list(courses)),), figures, (NOTE,))


def _settings(material: Material) -> Iterator[Setting]:
    """One of those that share a model and differ in their threshold."""
    seen = set()
    for setting in material.settings:
        model = (setting.method, setting.scope, repr(sorted(setting.params.items())))
        if model not in seen:
            seen.add(model)
            yield setting


def _of_validation(material: Material, setting: Setting) -> list[Epochs]:
    """Of each category, in the first regime; empty where one lacks a class."""
    row = material.row(setting, material.first_regime(setting)).values()
    found = [finding.epochs["validation"] for finding in row if "validation" in finding.epochs]
    whole = len(found) == len(row) and all(math.isfinite(sum(each.ratio)) for each in found)
    return found if whole else []


def _mean(found: Sequence[Epochs], of: Callable[[Epochs], Sequence[float]]) -> list[float]:
    """By epoch, over the categories."""
    return [float(value) for value in np.mean([of(each) for each in found], axis=0)]


def _told(setting: Setting, found: Sequence[Epochs]) -> str:
    """What became of the errors and of their ratio, in a sentence."""
    normal, anomalous = _mean(found, lambda e: e.normal), _mean(found, lambda e: e.anomalous)
    ratio, area = _mean(found, lambda e: e.ratio), _mean(found, lambda e: e.image_auroc)
    best = int(np.argmax(ratio))
    first, last = found[0].epochs[0], found[0].epochs[-1]
    text = (
        f"{setting.label}: from epoch {first} to {last} the score of defects falls to "
        f"{anomalous[-1] / anomalous[0]:.0%} of what it was, that of normal images to {normal[-1] / normal[0]:.0%}; "
        f"defects score {ratio[0]:.2f} times as high as normal images at first, {ratio[-1]:.2f} times at the end"
    )
    if best not in (0, len(ratio) - 1):
        text += f", and {ratio[best]:.2f} times after epoch {found[0].epochs[best]}"
    return f"{text}. Validation image AUROC: {area[0]:.3f}, at the end {area[-1]:.3f}, at best {max(area):.3f}."


def _errors(courses: dict[Setting, list[Epochs]]) -> Iterator[Figure]:
    """Both classes' mean score, a chart a setting."""
    for setting, found in courses.items():
        lines = [
            Series("normal images", found[0].epochs, _mean(found, lambda e: e.normal), colour=0),
            Series("defects", found[0].epochs, _mean(found, lambda e: e.anomalous), colour=1),
        ]
        drawing = line_chart(setting.label, _epoch_axis(lines), Axis("mean image score, raw", low=0), lines)
        yield Figure(safe(f"training_errors_{setting.index}_{setting.method}_{setting.scope}"), drawing)


def _compared(courses: dict[Setting, list[Epochs]]) -> Iterator[Figure]:
    """Ratio and image AUROC, a line a setting."""
    kinds: tuple[tuple[str, str, str, Callable[[Epochs], Sequence[float]]], ...] = (
        ("ratio", "Score of defects over that of normal images", "defects / normal images", lambda e: e.ratio),
        ("auroc", "Ranking of the validation images", "image AUROC", lambda e: e.image_auroc),
    )
    for name, title, unit, of in kinds:
        lines = [
            Series(setting.label, found[0].epochs, _mean(found, of), colour=number, dash=SCOPES.index(setting.scope))
            for number, (setting, found) in enumerate(courses.items())
        ]
        drawing = line_chart(title, _epoch_axis(lines), Axis(unit), lines)
        yield Figure(f"training_{name}", drawing, key=name == "ratio")


def _epoch_axis(lines: Sequence[Series]) -> Axis:
    places = sorted({x for line in lines for x in line.x})
    return Axis("epoch", log=True, ticks=tuple((x, f"{x:g}") for x in places))


def _table(material: Material, settings: Sequence[Setting]) -> Table:
    """Every category, part and epoch."""
    rows: list[tuple[Cell, ...]] = []
    for setting in settings:
        for category, finding in material.row(setting, material.first_regime(setting)).items():
            for part, of in finding.epochs.items():
                for number, epoch in enumerate(of.epochs):
                    figures = (of.normal[number], of.anomalous[number], of.ratio[number], of.image_auroc[number])
                    rows.append(
                        (words(category), words(setting.label), words(part), count(epoch),
                         *(figure(value, 3) for value in figures))
                    )  # fmt: skip
    heads = ("category", "setting", "part", "epoch", "normal", "anomalous", "ratio", "image AUROC")
    caption = "Mean image scores over the training, their ratio, and the image AUROC"
    return Table("training", caption, heads, tuple(rows), ("category", "setting", "part"), long=True)
