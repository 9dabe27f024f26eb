"""What is said of each real domain, from records made by hand: two cameras, one of which needs a new threshold."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from adloc.answer import results
from adloc.answer.axes import curves
from adloc.answer.claims import find_claims, find_verdicts
from adloc.answer.limitations import find_limitations
from adloc.planning.plan import Run
from adloc.report.sections.answer import answer
from adloc.report.sections.paper import paper
from adloc.report.sections.protocol import protocol
from adloc.report.sections.provenance import provenance
from adloc.report.sections.robustness import robustness
from adloc.study import prepare
from adloc.workspace import Workspace
from handmade import gathered, write_records

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.material import Material
    from adloc.datasets.sample import Sample
    from adloc.study import Study

STUDY = """\
study: cameras
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 48}}
shift: {{kind: domains, targets: {{old: {root}, new: {root}}}, synthetic: {{severity: [0.5, 1]}}}}
regimes: [clean, no_adaptation, threshold_only]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, weights: random, neighbours: 3}}
heatmaps: 0
"""
# what each domain adds to every score: the threshold of 1.5 between 1 and 2 serves the old camera alone
LIFTED = {"clean": 0, "old": 0, "new": 2, "shift": 2}
FALSE_ALARMS = {"clean": 0.01, "old": 0.02, "new": 0.93, "shift": 0.84}


def score(run: Run, sample: Sample) -> float:
    """1 for a normal image and 2 for an anomalous one, and what the domain of the part adds."""
    part = next(
        view.truth.part for view in (run.validation, run.test) if view is not None and sample in view.truth.part.samples
    )
    return 1 + sample.label + LIFTED[part.domain]


def values(run: Run) -> dict[str, Any]:
    """A threshold between the classes of the validation part, and rates that name the domain."""
    assert run.validation is not None
    calibrated = LIFTED[run.validation.truth.part.domain] if run.regime == "threshold_only" else 0
    rate = 0.05 if run.regime == "threshold_only" else FALSE_ALARMS[run.domain]
    severity = run.condition.severity or 0.0
    metrics = {"image_auroc": 1 - severity / 10, "val_image_auroc": 0.9, "image_fpr": rate, "image_fnr": 0.0}
    return {"threshold": 1.5 + calibrated, "metrics": metrics | {"model_mb": 1.0}}


@pytest.fixture(scope="module")
def study(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """With a record of every run."""
    folder = tmp_path_factory.mktemp("cameras")
    (folder / "cameras.yaml").write_text(STUDY.format(root=mvtec_tree))
    made = prepare(folder / "cameras.yaml", [], Workspace(folder / "w"), download=False)
    write_records(made, values, score)
    return made


@pytest.fixture(scope="module")
def material(study: Study) -> Material:
    """What the records amount to."""
    return gathered(study)


def test_the_main_material_is_of_the_first_target(material: Material) -> None:
    """And that of another target has the same clean runs."""
    assert {f.record.domain for f in material.findings} == {"clean", "old"}
    there = material.at("new")
    assert {f.record.domain for f in there.findings} == {"clean", "new"}
    assert {f.record.run_id for f in there.at("old").findings} == {f.record.run_id for f in material.findings}
    assert {f.record.condition.get("severity") for f in material.at("shift").findings} == {None, 1.0}
    n_runs = len(material.findings) + len(material.conditioned)
    assert len(there.findings) + len(there.conditioned) == n_runs == 1 + 2 * 4
    (setting,) = material.settings
    assert there.value(setting, "no_adaptation", "image_fpr", "gear") == 0.93


def test_each_domain_is_judged_on_its_own_validation_images(material: Material) -> None:
    """The new camera lifts all scores over the old threshold: recalibrate; the old one changes nothing."""
    (verdict,) = find_verdicts(material)
    assert (verdict.domain, verdict.shifted) == ("old", "use it")
    assert [(each.domain, each.shifted) for each in verdict.elsewhere] == [
        ("new", "recalibrate it"), ("shift", "recalibrate it"),
    ]  # fmt: skip


def test_claims_say_of_which_images_they_are(material: Material) -> None:
    """Light, pose and sensor are said to change where they are simulated, and of no real image."""
    (text,) = [claim.text for claim in find_claims(material, ()) if claim.kind == "verdict"]
    _, old, new, simulated = text.split("; ")[-4:]
    assert old.startswith("on images of old: use it as it is (2.0% false alarms")
    assert new.startswith("on images of new: recalibrate it (93.0% false alarms")
    assert simulated.startswith("when light, pose and sensor change: recalibrate it (84.0% false alarms")
    assert "change" not in old + new


def test_the_report_has_a_block_for_each_domain(material: Material) -> None:
    """With its own figures, the clean ones in all."""
    blocks = robustness(material)
    assert [(b.name, b.title) for b in blocks] == [
        ("robustness", "Robustness: old"), ("robustness_new", "Robustness: new"),
        ("robustness_shift", "Robustness: shifted"),
    ]  # fmt: skip
    for block, domain in zip(blocks, ("old", "new", "shift"), strict=True):
        (table,) = block.tables
        column = table.heads.index("false alarms")
        assert [row[column].value for row in table.rows] == [0.01, FALSE_ALARMS[domain], 0.05]
    names = [figure.name for block in blocks for figure in block.figures]
    assert len(names) == len(set(names)) > 0
    assert "light, pose and sensor" not in "".join(blocks[0].text + blocks[1].text)
    assert "light, pose and sensor" in "".join(blocks[2].text)


def test_the_answers_table_names_the_images_of_each_state(material: Material) -> None:
    """Clean once, then every domain."""
    section = answer(material, (), find_verdicts(material))
    assert section is not None
    assert [row[1].text for row in section.tables[0].rows] == [
        "clean", "old, as it is", "old, recalibrated", "new, as it is", "new, recalibrated", "shifted, as it is",
        "shifted, recalibrated",
    ]  # fmt: skip


def test_tables_for_a_paper_have_every_domain(material: Material) -> None:
    """Each threshold once; metrics of a regime in a table a domain; what is won back by domain."""
    section = paper(material)
    assert section is not None
    tables = {table.name: table for table in section.tables}
    assert [row[2].text for row in tables["paper_thresholds"].rows] == [
        "clean", "no adaptation, old", "threshold only, old", "no adaptation, new", "threshold only, new",
        "no adaptation", "threshold only",
    ]  # fmt: skip
    assert {"paper_metrics_image_no_adaptation", "paper_metrics_image_no_adaptation_new"} <= tables.keys()
    assert "no adaptation, new" in tables["paper_metrics_image_no_adaptation_new"].caption
    alarms = {row[0].text: row[5].value for row in tables["paper_recovered"].rows if row[3].text == "false alarms"}
    assert alarms == {"old": 0.02, "new": 0.93, "shifted": 0.84}


def test_set_up_and_limits_say_what_the_domains_are(material: Material) -> None:
    """Counts of every part and domain; real images are not called simulated."""
    section = protocol(material, ())
    rows = [[cell.text for cell in row[:3]] for row in section.tables[0].rows]
    assert rows == [["gear", d, part] for d in ("clean", "old", "new") for part in ("train", "validation", "test")]
    assert "Domains of real images: old, new" in "".join(section.text)
    said = next(each.text for each in find_limitations(material) if each.matter == "shift")
    assert "Real images of old" in said
    assert "Synthetic (mvtec_shift, seed 42), at severities 0.5, 1" in said
    assert '"kind":"domains"' in provenance(material).text[0]


def test_a_curve_over_severity_is_of_the_simulated_shift(material: Material) -> None:
    """The real domains have no severity, and their figures stand on no curve."""
    spec = material.plan.spec
    for curve in curves(material.rows, spec, "severity", "image_auroc"):
        assert [(point.at, point.values) for point in curve.points] == [(0.5, (0.95,)), (1.0, (0.9,))]
    assert len(curves(material.rows, spec, "severity", "image_auroc")) == 2  # the shifted regimes


@pytest.mark.parametrize("n_cores", [1, 2])
def test_keys_that_a_fork_finds_choose_the_same_records(
    study: Study, n_cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the plan: neither a record of another key nor one of no planned run; with a fork, or here."""
    monkeypatch.setattr(results, "MANY_KEYS", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(n_cores)))
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    first, *others = study.plan.runs
    told: list[str] = []

    def key(self: Run) -> str:
        told.append(self.run_id)
        return "another" if self.run_id == first.run_id else found[self.run_id]

    found = {record.run_id: record.key for record in study.records.all()}
    monkeypatch.setattr(Run, "key", property(key))
    plan = replace(study.plan, runs=(others[-1], first, *others[:-1]))
    chosen = [record.run_id for record in results.recorded(plan, study.records)]
    assert chosen == [run.run_id for run in (others[-1], *others[:-1])]
    assert len(told) == (0 if n_cores > 1 and sys.platform == "linux" else len(plan.runs))
