"""The sections of a report, in order; one that the study has no data for is left out."""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from adloc.answer.results import MACRO
from adloc.report import figures as charts
from adloc.report.boards import defect_types, hardest, leaderboard
from adloc.report.claims import answer_in_three, recalibration
from adloc.report.compared import ALPHA, METRICS_COMPARED, MOST_PAIRS, compare_settings, rank_leads
from adloc.report.material import REGIME_TITLES, title_of
from adloc.report.provenance import provenance
from adloc.report.section import NOISE, OBJECTIVES, SHOWN, Section, who
from adloc.report.tables import Table, count, figure, words
from adloc.report.tuned import tuning
from adloc.uncertainty.multiple import wilcoxon_p
from adloc.uncertainty.resampling import N_RESAMPLES

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.report.compared import Comparison
    from adloc.report.gallery import Gallery
    from adloc.report.material import Material
    from adloc.report.tables import Cell
    from adloc.tuning.state import SearchState

MOST_ROWS = 18  # of the protocol that are not folded


def make_sections(
    material: Material, gallery: Gallery, searches: tuple[SearchState, ...], study_path: Path
) -> list[Section]:
    """Every section that has something to show."""
    comparisons = compare_settings(material)
    made = [
        _answer(material, comparisons),
        _protocol(material),
        leaderboard(material),
        _compared(material, comparisons),
        _robustness(material),
        _distributions(material),
        _curves(material),
        _trade_offs(material),
        _gallery(gallery),
        hardest(material),
        defect_types(material),
        _unified(material),
        tuning(searches, study_path, material, Section),
        _pairs(gallery),
        _failures(material),
        provenance(material, Section),
    ]
    return [section for section in made if section is not None]


def _answer(material: Material, comparisons: list[Comparison]) -> Section | None:
    if not material.findings:
        return None
    return Section(
        "answer", "The answer", answer_in_three(material, comparisons), figures=tuple(charts.overview(material))
    )


def _protocol(material: Material) -> Section:
    spec = material.plan.spec
    rows: list[tuple[Cell, ...]] = []
    for category, parts in material.plan.parts.items():
        for title, part in (("train", parts.train), ("validation", parts.validation), ("test", parts.test)):
            kinds = Counter(s.defect for s in part.samples if s.label)
            n_anomalous = sum(kinds.values())
            listed = ", ".join(f"{name} {n}" for name, n in sorted(kinds.items()))
            rows.append(
                (words(category), words(title), count(len(part)), count(len(part) - n_anomalous), count(n_anomalous),
                 words(listed))
            )  # fmt: skip
    heads = ("category", "part", "images", "normal", "anomalous", "defect types")
    table = Table(
        "protocol", "Images of each part; no image is in two parts", heads, tuple(rows), long=len(rows) > MOST_ROWS
    )
    split = spec.split
    text = [
        f"Models are fitted on normal images only: {split.train_fraction:.0%} of each category's training images. "
        f"The rest of them and {split.validation_defects:.0%} of every defect type form the validation part, "
        "which alone "
        f"chooses thresholds ({OBJECTIVES[spec.thresholds.objective]}) and settings. Every figure below is of the "
        f"test part, which chose nothing. Split seed {split.seed}; {spec.repeats} "
        f"repeat{'s, each with its own split and seeds' if spec.repeats > 1 else ''}."
    ]
    if split.train_fraction == 1:
        text = [
            "The benchmark's standard split: all training images fit, all test images test. There is no validation "
            "part, so no threshold was calibrated and metrics at a threshold are left out."
        ]
    shifted = [r for r in material.regimes if r != "clean"]
    if shifted:
        text.append(
            f"The shifted domain ({spec.shift.preset}, severity {spec.shift.severity:g}, seed "
            f"{spec.shift.seed}) changes "
            "every image once, the same way in every run. Regimes: clean; no adaptation (model and threshold "
            "from clean "
            "images, tested on shifted ones); threshold only (threshold calibrated again on shifted validation "
            "images); "
            "full adaptation (fitted on shifted images as well)."
        )
    return Section("protocol", "Protocol", tuple(text), (table,))


def _compared(material: Material, comparisons: list[Comparison]) -> Section | None:
    if not comparisons:
        return None
    heads = ("category", "regime", "metric", "first", "second", "difference", "p", "p, DeLong", "p, Holm", "verdict")
    rows = [
        (
            words(c.category), words(REGIME_TITLES[c.regime]), words(title_of(c.metric)), words(c.first.label),
            words(c.second.label), figure(c.difference, 3, c.interval, signed=True), _p(c.p), _p(c.p_delong),
            _p(c.p_holm),
            words(c.verdict, "" if c.verdict in ("inside the noise", "not tested") else "good"),
        )
        for c in sorted(comparisons, key=lambda c: c.category != MACRO)
    ]  # fmt: skip
    n_inside = sum(c.verdict == "inside the noise" for c in comparisons)
    text = [
        f"{len(comparisons)} paired comparisons on the same test images; {n_inside} of the differences lie inside the "
        f"noise (corrected p of {ALPHA:g} and above): nothing should be concluded from those."
    ]
    notes = [
        f"Interval and p by a paired bootstrap ({N_RESAMPLES} resamples, so no p lies below {1 / N_RESAMPLES:g}), "
        "for AUROC also by DeLong's test; corrected by Holm for all comparisons of the same regime and metric, "
        "averages and single categories apart. A setting is compared with the lead of its method and leads with each "
        f"other, at most {MOST_PAIRS} pairs; the lead is the setting with the best validation figure."
    ]
    fewest = min(finding.n_resamples for finding in material.findings)
    if fewest < N_RESAMPLES:
        notes.append(f"With so many runs, pixel metrics have {fewest} resamples, and p no lower than {1 / fewest:g}.")
    for regime in material.regimes[:1]:
        for metric in METRICS_COMPARED:
            ranked = rank_leads(material, regime, metric)
            if ranked is None:
                continue
            settings, found, values = ranked
            named = ", ".join(f"{s.label} {r:.2f}" for s, r in zip(settings, found.average, strict=True))
            if len(settings) == 2:  # noqa: PLR2004  Wilcoxon's test is for two
                text.append(f"Over {values.shape[1]} categories, {title_of(metric)}: Wilcoxon p "
                            f"{wilcoxon_p(*values):.3g}; "
                            f"average ranks {named}.")  # fmt: skip
            else:
                text.append(f"Over {values.shape[1]} categories, {title_of(metric)}: Friedman p "
                            f"{found.friedman_p:.3g}; "
                            f"average ranks {named}; critical difference {found.critical_difference:.2f}.")  # fmt: skip
    table = Table("comparisons", "Paired comparisons of settings, on the same images", heads, tuple(rows),
                  ("category", "regime", "metric", "verdict"))  # fmt: skip
    return Section(
        "comparisons", "Differences and noise", tuple(text), (table,), tuple(charts.ranks(material)), tuple(notes)
    )


def _robustness(material: Material) -> Section | None:
    if len(material.regimes) < 2:  # noqa: PLR2004  nothing to compare
        return None
    metrics = (*SHOWN, "image_fpr", "image_fnr")
    names = {"image_fpr": "false alarms", "image_fnr": "misses"}
    heads = ("category", "setting", "regime", *(names.get(n, title_of(n)) for n in metrics), "relative drop, %")
    drops = {(who(r), r["regime"]): r["relative_drop"] for r in material.answer.regime_drops}
    rows: list[tuple[Cell, ...]] = []
    for category in (MACRO, *material.categories):
        for setting, regime in material.lines(material.leads):
            finding = None if category == MACRO else material.get(setting, regime, category)
            if category == MACRO and not material.row(setting, regime):
                continue
            if category != MACRO and finding is None:
                continue
            cells = [
                figure(finding.record.metrics.get(n), 3, finding.interval(n))
                if finding
                else figure(material.macro(setting, regime, n), 3, material.macro_interval(setting, regime, n))
                for n in metrics
            ]
            sample = finding or next(iter(material.row(setting, regime).values()))
            row = next((r for r in material.answer.rows if r["run_id"] == sample.record.run_id), None)
            drop = drops.get((who({**row, "category": category}), regime)) if row else None
            share = figure(100 * float(drop), 1, signed=True) if isinstance(drop, int | float) else words("")
            rows.append((words(category), words(setting.label), words(REGIME_TITLES[regime]), *cells, share))
    bold = frozenset(i for i, row in enumerate(rows) if row[0].text == MACRO)
    table = Table("robustness", "Metrics across the regimes, with what is lost against clean", heads, tuple(rows),
                  ("category", "setting"), bold=bold)  # fmt: skip
    notes = (
        "The relative drop averages (clean - regime) / clean over the metrics where higher is better. Under no "
        "adaptation, "
        "the error rates are those of the threshold carried over from clean images. False alarms: share of "
        "normal images that are "
        "flagged; misses: share of anomalous images that are not.",
        NOISE,
    )
    return Section(
        "robustness", "Robustness", recalibration(material), (table,), tuple(charts.robustness(material)), notes
    )


def _distributions(material: Material) -> Section | None:
    made = tuple(charts.distributions(material))
    if not made:
        return None
    text = (
        "Each dot is an image. A threshold serves where it parts the two clouds, in the part it was not chosen on too."
    )
    return Section("scores", "Score distributions", (text,), figures=made, notes=_left_out(material))


def _curves(material: Material) -> Section | None:
    made = tuple(charts.curves(material))
    return Section("curves", "Curves", (), figures=made, notes=_left_out(material)) if made else None


def _trade_offs(material: Material) -> Section | None:
    made = (*charts.trade_offs(material), *islice(charts.ablations(material), 60))
    if not made:
        return None
    text = (
        "Ringed points are the Pareto front: no other setting is both cheaper and better. Curves of a swept "
        "parameter hold "
        "the others at the setting with the best validation figure; their bands are 95 % intervals."
    )
    return Section("trade-offs", "Trade-offs and ablations", (text,), figures=made)


def _gallery(gallery: Gallery) -> Section | None:
    if not gallery.cards:
        return None
    text = (
        "The same images across settings and regimes: first those that every run has a picture of, the most often "
        "misjudged at the front, then each run's own extremes. Each view shows the anomaly map, and the image with the "
        "map's contour at the threshold. In every map the colour turns from cold to warm at the run's own threshold: "
        "colours compare between methods whose raw scores do not. Runs that share a model and its threshold share the "
        "scale, so what a shift does to the scores can be seen."
    )
    thinned = gallery.n_recorded - gallery.n_shown
    left = (
        f"{gallery.n_shown} of the {gallery.n_recorded} recorded pictures are shown, made smaller; the others "
        "are of other "
        "settings or repeats, or were left out to keep this file small. All are in the records' heatmaps folders."
        if thinned > 0
        else "All recorded pictures are shown, made smaller."
    )
    choice = (
        "Half of a run's pictures are of images chosen by a hash of their names, one of each defect type in "
        "turn, so that "
        "they are the same in every run; the other half are the run's own: its lowest-scored anomalies, highest-scored "
        "normal images and those nearest to the threshold."
    )
    return Section("gallery", "Gallery", (text,), notes=(choice, left), kind="gallery")


def _unified(material: Material) -> Section | None:
    answer = material.answer
    if not answer.scope_drops and not answer.identical_shortcut:
        return None
    labels = {who(r): f.setting.label for f in material.findings
              for r in answer.rows if r["run_id"] == f.record.run_id}  # fmt: skip
    metrics = ("image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")
    rows = [
        (words(r["category"]), words(labels.get(who(r)) or f"{r['method']}, unified, {r['threshold_scope']} threshold"),
         words(REGIME_TITLES[str(r["regime"])]), *(figure(r[f"drop_{n}"], 3, signed=True) for n in metrics),
         figure(r["image_fpr"]), figure(r["image_fnr"]))
        for r in sorted(answer.scope_drops, key=lambda r: r["category"] != MACRO) if r["repeat"] == 0
    ]  # fmt: skip
    heads = ("category", "setting", "regime", *(f"drop of {title_of(n)}" for n in metrics), title_of("image_fpr"),
             title_of("image_fnr"))  # fmt: skip
    table = Table("unified", "What one model for all categories loses against a model for each", heads, tuple(rows),
                  ("category", "regime"))  # fmt: skip
    text = (
        "A drop is how much worse the unified model is than the category's own; negative where it is better. "
        "The matrices "
        "show the identical shortcut: the share of a category's normal images that another category's threshold flags.",
    )
    made = tuple(islice(charts.shortcut(material), 24))
    return Section("unified", "One model for all categories", text, (table,) if rows else (), made)


def _pairs(gallery: Gallery) -> Section | None:
    if not any(len(card.pictures) > 1 for card in gallery.cards):
        return None
    text = "The same images before and after the shift, with the defects outlined where they are."
    return Section("shift", "Clean and shifted images", (text,), kind="pairs")


def _failures(material: Material) -> Section | None:
    failed = [r for r in material.records if r.status == "failed"]
    if not failed:
        return None
    rows = tuple(
        (
            words(r.run_id),
            words(REGIME_TITLES[r.regime]),
            words(((r.error or "").strip().splitlines() or [""])[-1], "bad"),
        )
        for r in failed
    )
    table = Table("failures", "Runs that failed, with the last line of the reason", ("run", "regime", "reason"), rows)
    return Section("failures", "Failed runs", (), (table,))


def _left_out(material: Material) -> tuple[str, ...]:
    if len(material.categories) <= charts.MOST_CATEGORIES and len(material.settings) == len(material.leads):
        return ()
    return (
        f"Charts show the leads (of each method the setting with the best validation figure) in at most "
        f"{charts.MOST_CATEGORIES} categories; the tables have everything.",
    )


def _p(value: float) -> Cell:
    if math.isnan(value):
        return words("")
    cell = figure(value, 3)
    return figure(value, 4) if value < 0.01 else cell  # noqa: PLR2004
