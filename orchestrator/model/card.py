"""The model card: what a model is, what was measured of it and what to expect of it, as Markdown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from adloc.answer.material import regime_title, title_of
from adloc.metrics.registry import METRICS

if TYPE_CHECKING:
    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material
    from adloc.planning.plan import Run
    from adloc.record.records import RunRecord
    from adloc.study_file.spec import StudySpec
    from adloc.uncertainty.resampling import Interval

_REGIMES = {
    "no_adaptation": "`no adaptation`: the model and the threshold of clean images after the shift",
    "threshold_only": "`threshold only`: a new threshold after the shift (`adloc model calibrate`)",
    "full_adaptation": "`full adaptation`: fitted again on images after the shift",
}
_FIGURES = ("image_auroc", "image_fpr", "image_fnr", "pixel_auroc", "pixel_aupro")


def write_card(run: Run, record: RunRecord, material: Material) -> str:
    """The text of a run's card.

    Args:
        run: of the plan.
        record: of the run.
        material: of its study.
    """
    spec, variant = material.plan.spec, run.variant
    parts = [
        f"# {variant.method.name} for {run.category}",
        f"A detector of anomalies, exported by adloc from the run `{run.run_id}` of the study `{run.study}`."
        + (f" Its question: {spec.description}" if spec.description else ""),
        _what(run, record),
        _expected(run, material),
        _threshold(run, record, spec),
        _limits(run, spec),
        _licences(run),
        "## Settings\n\n" + "\n".join(f"- `{name}`: {value}" for name, value in sorted(record.params.items())),
    ]
    return "\n\n".join(parts) + "\n"


def _what(run: Run, record: RunRecord) -> str:
    part = run.train_part
    n_anomalous = sum(sample.label for sample in part.samples)
    mixed = f" ({n_anomalous} of them anomalous, as the study asked)" if n_anomalous else ""
    product = "all categories of the study" if run.scope == "unified" else part.category
    images = f"{len(part)} {part.domain} image{'s' * (len(part) != 1)}{mixed} of {product}"
    height, width = run.variant.image.input_size
    return (
        "## What it was fitted on\n\n"
        f"{images}, seen at {height} x {width} pixels; validated on {record.n_val} images, tested on {record.n_test}. "
        "Which image was in which part, with its hash, is in the record's manifest.csv."
    )


def _expected(run: Run, material: Material) -> str:
    """Measured on test images, a row a regime: what to expect as it is, recalibrated and refitted under a shift."""
    setting = _setting_of(run, material)
    if setting is None:
        return "## What to expect\n\nNothing was measured."
    rows, columns = [], [m for m in _FIGURES if any(_known(f, m) for _, f in _regimes(run, setting, material))]
    for title, finding in _regimes(run, setting, material):
        cells = [_cell(finding.record.metrics.get(m), finding.interval(m), m) for m in columns]
        rows.append(f"| {title} | {finding.record.n_test} | {' | '.join(cells)} |")
    if not rows:
        return "## What to expect\n\nNothing was measured at this setting's base."
    head = f"| regime | test images | {' | '.join(title_of(m) for m in columns)} |"
    line = "|---" * (len(columns) + 2) + "|"
    notes = "Figures of test images with 95 % intervals; nothing was chosen on them."
    there = {finding.record.regime for _, finding in _regimes(run, setting, material)}
    notes += "".join(f" {words}." for regime, words in _REGIMES.items() if regime in there)
    return "\n".join(["## What to expect", "", head, line, *rows, "", notes])


def _regimes(run: Run, setting: Setting, material: Material) -> list[tuple[str, Finding]]:
    found = []
    for there in material.each_domain():
        for regime in there.regimes:
            finding = there.get(setting, regime, run.category, run.repeat)
            if finding is not None:
                title = regime_title(regime, there.domain)
                found.append((f"**{title}** (this run)" if finding.record.run_id == run.run_id else title, finding))
    return list(dict(found).items())


def _setting_of(run: Run, material: Material) -> Setting | None:
    every = (*material.findings, *material.conditioned)
    return next((f.setting for f in every if f.record.run_id == run.run_id), None)


def _known(finding: Finding, metric: str) -> bool:
    return finding.record.metrics.get(metric) is not None


def _cell(value: float | None, interval: Interval, metric: str) -> str:
    if value is None:
        return "-"
    percent = METRICS[metric].name in ("image_fpr", "image_fnr")
    scale, digits, unit = (100, 1, " %") if percent else (1, 3, "")
    shown = f"{scale * value:.{digits}f}{unit}"
    if math.isnan(interval.low):
        return shown
    return f"{shown} ({scale * interval.low:.{digits}f} to {scale * interval.high:.{digits}f})"


def _threshold(run: Run, record: RunRecord, spec: StudySpec) -> str:
    if record.threshold is None or run.threshold is None:
        return "## Threshold\n\nNone was calibrated: set one by `adloc model calibrate`."
    n_images = sum(len(part) for part in run.threshold.parts)
    of = " of all categories" if len(run.threshold.parts) > 1 else ""
    expected, upper = record.metrics.get("expected_fpr"), record.metrics.get("upper_fpr")
    promised = (
        "It promises nothing about false alarms: it was carried over to other images."
        if expected is None or upper is None
        else f"Of 10,000 good parts it flags at most {10_000 * expected:.0f} on the average of calibrations, and at "
        f"most {10_000 * upper:.0f} in 95 % of them, as long as images are like those that it was calibrated on."
    )
    return (
        f"## Threshold\n\nAs exported, an image is anomalous from a score of {record.threshold:.6g} upwards "
        f"({spec.thresholds.words}, {n_images} validation images{of}). {promised} `adloc model calibrate` "
        "writes a new one, with its own promise, to model.json."
    )


def _limits(run: Run, spec: StudySpec) -> str:
    shifted = (
        "The table says what the study's shift does to it."
        if any(regime != "clean" for regime in spec.regimes)
        else "What a change of light, pose or sensor does to it was not tested."
    )
    product = "all categories of the study as they were" if run.scope == "unified" else f"{run.category} as it was"
    return (
        "## Limits\n\n"
        f"It knows {product} photographed for the study, and nothing else; a score means nothing for "
        f"another product. {shifted} Watch it by `adloc predict --monitor`. selftest.json holds a few images "
        "of the study as the model sees them: who must not see the product must not have the folder."
    )


def _licences(run: Run) -> str:
    network = run.fit[0].source.network
    weights = (
        "It has no pretrained network."
        if network is None
        else f"Backbone {network.backbone}, weights `{network.weights}` (SHA-256 {network.sha256[:16]}...). Published "
        "ImageNet weights come under their publisher's licence (torchvision: BSD-3-Clause; the images of ImageNet are "
        "for research and education, and what that means for networks trained on them is not settled everywhere)."
    )
    return (
        f"## Licences\n\n{weights} The images that it was fitted on have a licence of their own, which may forbid "
        "commercial use (MVTec AD, VisA and other published datasets do or restrict it). adloc is Apache-2.0; a method "
        "of anomalib (Apache-2.0) or of a plug-in comes under its own."
    )
