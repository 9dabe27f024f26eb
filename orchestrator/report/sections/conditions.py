"""How many images, how clean, and which part of the shift hurts: figures along the axes of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.axes import PLATEAU_MARGIN, curves, interactions, plateau
from adloc.answer.material import REGIME_TITLES, title_of
from adloc.report.charts.along_axes import SHOWN, along, factors, has_axis, settings_of
from adloc.report.section import Section
from adloc.report.sections import validation_images
from adloc.report.tables import Table, figure, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.axes import Curve, Interaction, Point
    from adloc.answer.material import Material
    from adloc.report.charts.figure import Figure
    from adloc.report.tables import Cell
    from adloc.study_file.regimes import Regime

SPREAD = "Bands reach from the lowest to the highest draw and repeat; lines are their mean."


def how_many_images(material: Material) -> Section | None:
    """The learning curve, and where it ends; none where one number of images was used."""
    if not has_axis(material.rows, "train_images"):
        return None
    text, (table, figures) = tuple(_enough(material)), _shown(material, "train_images")
    curves = validation_images.validation_curves(material)
    notes = (
        f"{SPREAD} The number that is enough is the smallest from which no larger one is better by more than "
        f"{PLATEAU_MARGIN:g} in the image AUROC of the validation part; its false alarms and "
        "misses are of the test part.",
        *([validation_images.NOTE] if curves else []),
    )
    text += tuple(validation_images.told(curves))
    tables = (table, *([validation_images.table(curves)] if curves else []))
    return Section("images", "How many images", text, tables, (*figures, *validation_images.figures(curves)), notes)


def how_clean(material: Material) -> Section | None:
    """What defects among the training images do; none without that axis."""
    if not has_axis(material.rows, "contamination"):
        return None
    text, (table, figures) = tuple(_ends(material, "contamination")), _shown(material, "contamination")
    notes = (
        "The defects are taken from the validation part, and those of the largest share have left it at every share: "
        "all thresholds are chosen on the same images. " + SPREAD,
    )
    return Section("contamination", "How clean", text, (table,), figures, notes)


def which_part_hurts(material: Material) -> Section | None:
    """Curves over severity, and what each group of transforms costs; none without either axis."""
    text: list[str] = []
    tables: list[Table] = []
    made = tuple(factors(material))
    if has_axis(material.rows, "severity"):
        text += _ends(material, "severity")
        table, figures = _shown(material, "severity")
        tables, made = [table], (*figures, *made)
    if has_axis(material.rows, "factors"):
        text += _hurts(material)
        tables.append(_factor_table(material))
    if not tables:
        return None
    notes = (
        "Losses are against the clean test part; positive is worse. A group alone is drawn exactly as it is in the "
        "whole shift. Together less than the sum: the groups overlap, or an error rate has no room left.",
    )
    return Section("factors", "Which part of the shift hurts", tuple(text), tuple(tables), made, notes)


def _enough(material: Material) -> Iterator[str]:
    settings = settings_of(material)
    rates = {metric: _by_key(material, "train_images", metric) for metric in ("image_fpr", "image_fnr")}
    for curve in curves(material.rows, material.plan.spec, "train_images", "val_image_auroc"):
        if curve.who not in settings:
            continue
        enough, most = plateau(curve.points), curve.points[-1]
        errors = _errors([rates[m].get((curve.who, curve.regime)) for m in rates], enough)
        who = f"{settings[curve.who].label}, {REGIME_TITLES[curve.regime]}: "
        n = f"{enough.n_train:g}"
        if enough is most:
            yield (
                f"{who}with all {n} images a category {errors}; fewer are worse by more than {PLATEAU_MARGIN:g} in "
                f"validation image AUROC ({enough.mean:.3f}), so more may still help."
            )
        else:
            are = "images a category are" if enough.n_train > 1 else "image a category is"
            yield (
                f"{who}{n} {are} enough: {errors}, and no larger number, up to {most.n_train:g}, is better by more "
                f"than {PLATEAU_MARGIN:g} in validation image AUROC ({enough.mean:.3f}; {most.mean:.3f} with all)."
            )


def _errors(found: list[Curve | None], at: Point) -> str:
    shares = [point.mean if curve and (point := curve.at(at.at)) else None for curve in found]
    names = ("of the normal images raise a false alarm", "of the defects are missed")
    said = [f"{share:.1%} {name}" for share, name in zip(shares, names, strict=True) if share is not None]
    return " and ".join(said) or "no threshold was calibrated"


def _ends(material: Material, axis: str) -> Iterator[str]:
    """Each metric at both ends of an axis of numbers, errors first."""
    settings = settings_of(material)
    by_metric = {metric: _by_key(material, axis, metric) for metric in SHOWN}
    titles = ("false alarms", "misses", *(title_of(m) for m in SHOWN[2:]))
    for key in dict.fromkeys(key for found in by_metric.values() for key in found):
        if key[0] not in settings:
            continue
        moves, low, high = [], "", ""
        for metric, title in zip(SHOWN, titles, strict=True):
            curve = by_metric[metric].get(key)
            if curve is None:
                continue
            first, last = curve.points[0], curve.points[-1]
            form = ".1%" if metric in ("image_fpr", "image_fnr") else ".3f"
            verb = "go" if form == ".1%" else "goes"
            moves.append(f"{title} {verb} from {first.mean:{form}} to {last.mean:{form}}")
            low, high = f"{first.at:g}", f"{last.at:g}"  # numbers: these axes have no words
        yield (f"{settings[key[0]].label}, {REGIME_TITLES[key[1]]}: from {axis} {low} to {high}, {', '.join(moves)}.")


def _hurts(material: Material) -> Iterator[str]:
    settings = settings_of(material)
    found: dict[tuple[object, ...], dict[str, Interaction]] = {}
    for metric in ("image_fpr", "image_fnr", "image_auroc"):
        for each in interactions(material.axis_drops, material.plan.spec, metric):
            if each.who in settings:
                found.setdefault((each.who, each.regime), {})[metric] = each
    for by_metric in found.values():
        some = next(iter(by_metric.values()))
        errors = [by_metric[m] for m in ("image_fpr", "image_fnr") if m in by_metric] or [some]
        worst = max(some.alone, key=lambda name: sum(each.alone.get(name, 0.0) for each in errors))
        parts = [
            f"{title} by {rate.alone.get(worst, 0.0):+.3f} (all together {rate.together:+.3f})"
            for metric, title in (("image_fpr", "false alarms"), ("image_fnr", "misses"))
            if (rate := by_metric.get(metric))
        ]
        ranking = by_metric.get("image_auroc")
        if ranking:
            alone, together = 0.0 - ranking.alone.get(worst, 0.0), 0.0 - ranking.together
            parts.append(f"image AUROC by {alone:+.3f} (all together {together:+.3f})")
        hurts = sum(each.alone.get(worst, 0.0) for each in errors) > 0
        head = f"{worst} hurts most; alone it" if hurts else f"no group alone raises the errors; {worst}"
        sentence = f"{settings[some.who].label}, {REGIME_TITLES[some.regime]}: {head} changes {', '.join(parts)}."
        sentence += f" {_interacts(ranking)}" if ranking and len(ranking.alone) > 1 else ""
        yield sentence.replace(" -", " \N{MINUS SIGN}")


def _interacts(ranking: Interaction) -> str:
    """Whether the groups' losses of image AUROC add up."""
    if abs(ranking.extra) < 0.0005:  # noqa: PLR2004  not seen in three digits
        return "Together they cost as much image AUROC as the sum of each alone."
    cost = f"Together they cost {abs(ranking.extra):.3f}"
    if ranking.extra < 0:
        return f"{cost} less image AUROC than the sum of each alone: they overlap."
    return f"{cost} more image AUROC than the sum of each alone: they make each other worse."


def _factor_table(material: Material) -> Table:
    settings = settings_of(material)
    rows: list[tuple[Cell, ...]] = []
    by_metric = {
        metric: {(i.who, i.regime): i for i in interactions(material.axis_drops, material.plan.spec, metric)}
        for metric in SHOWN
    }
    for who, regime in dict.fromkeys(key for found in by_metric.values() for key in found):
        if who not in settings:
            continue
        found = [by_metric[m].get((who, regime)) for m in SHOWN]
        head = (words(settings[who].label), words(REGIME_TITLES[regime]))
        for place in dict.fromkeys(p for i in found if i for p in (*i.alone, *i.combined)):
            cells = (figure({**i.alone, **i.combined}.get(place), signed=True) if i else words("") for i in found)
            rows.append((*head, words(place), *cells))
        rows.append((*head, words("all"), *(figure(i.together, signed=True) if i else words("") for i in found)))
        rows.append((*head, words("all less the sum of the single ones"),
                     *(figure(i.extra, signed=True) if i else words("") for i in found)))  # fmt: skip
    heads = ("setting", "regime", "factors", *(f"lost {title_of(m)}" for m in SHOWN))
    return Table("factors", "What each group of transforms costs against clean", heads, tuple(rows),
                 ("setting", "regime"))  # fmt: skip


def _shown(material: Material, axis: str) -> tuple[Table, tuple[Figure, ...]]:
    settings = settings_of(material)
    by_metric = {metric: _by_key(material, axis, metric) for metric in SHOWN}
    rows: list[tuple[Cell, ...]] = []
    for key in dict.fromkeys(key for found in by_metric.values() for key in found):
        if key[0] not in settings:
            continue
        found = [by_metric[m].get(key) for m in SHOWN]
        places = next(curve for curve in found if curve).points
        for place in places:
            points = [curve.at(place.at) if curve else None for curve in found]
            rows.append(
                (words(settings[key[0]].label), words(REGIME_TITLES[key[1]]), words(f"{place.at}"),
                 *(figure(p.mean) if p else words("") for p in points), words(len(place.values)))
            )  # fmt: skip
    name = axis.replace("_", " ")
    heads = ("setting", "regime", name, *(title_of(m) for m in SHOWN), "runs")
    table = Table(f"axis_{axis}", f"Figures by {name}, mean over draws and repeats", heads, tuple(rows),
                  ("setting", "regime"))  # fmt: skip
    return table, tuple(along(material, axis))


def _by_key(material: Material, axis: str, metric: str) -> dict[tuple[tuple[object, ...], Regime], Curve]:
    return {(c.who, c.regime): c for c in curves(material.rows, material.plan.spec, axis, metric)}
