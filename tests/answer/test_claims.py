"""What the answer claims, from hand-made records whose best test setting is not the best on the validation part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from adloc.answer.claims import find_claims, find_verdicts
from adloc.answer.found import find
from adloc.answer.verdict_words import shift_words
from adloc.answer.verdicts import decide
from adloc.report.page import write_report
from adloc.report.sections.answer import answer
from adloc.report.sections.boards import leaderboard
from adloc.study import Study, prepare
from adloc.study_file.axes import StudyShift
from adloc.workspace import Workspace
from handmade import gathered, write_records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from adloc.answer.material import Material
    from adloc.planning.plan import Run

STUDY = """\
study: claimed
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 48}}
regimes: [clean, no_adaptation, threshold_only, full_adaptation]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, weights: random, neighbours: 3}}
    grid: {{coreset_ratio: [0.1, 0.5, 0.9]}}
heatmaps: 0
"""
VALIDATED = {0.1: 0.7, 0.5: 0.9, 0.9: 0.6}
TESTED = {0.1: 0.93, 0.5: 0.81, 0.9: 0.97}  # the other way round
FALSE_ALARMS = {"clean": 0.05, "no_adaptation": 0.9, "threshold_only": 0.3, "full_adaptation": 0.2}
MISSES = {"clean": 0.25, "no_adaptation": 0.0, "threshold_only": 0.5, "full_adaptation": 0.25}
# scores of normal and anomalous images, and the threshold: the shift lifts all scores by 2
SCORES = {"clean": (1, 2), "no_adaptation": (1, 2), "threshold_only": (3, 4), "full_adaptation": (1, 2)}
THRESHOLDS = {"clean": 1.5, "no_adaptation": 1.5, "threshold_only": 3.5, "full_adaptation": 1.5}


def write(study: Study, validated: Mapping[float, float | None], tested: Mapping[float, float | None]) -> None:
    """A record a run; a regime's validation images score as `SCORES` says."""

    def values(run: Run) -> dict[str, Any]:
        ratio = float(run.variant.hyperparameters()["coreset_ratio"])
        metrics: dict[str, float | None] = {
            "image_auroc": tested[ratio], "val_image_auroc": validated[ratio], "pixel_aupro": 0.5,
            "image_fpr": FALSE_ALARMS[run.regime], "image_fnr": MISSES[run.regime],
            "fit_s": 1.0, "model_mb": 10 * ratio, "score_ms_per_image": 5.0,
        }  # fmt: skip
        return {"threshold": THRESHOLDS[run.regime], "metrics": metrics}

    write_records(study, values, lambda run, sample: SCORES[run.regime][sample.label])


@pytest.fixture(scope="module")
def make(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Study]:
    """A study with hand-made records."""

    def made(
        *overrides: str,
        validated: Mapping[float, float | None] = VALIDATED,
        tested: Mapping[float, float | None] = TESTED,
    ) -> Study:
        folder = tmp_path_factory.mktemp("claims")
        path = folder / "claimed.yaml"
        path.write_text(STUDY.format(root=mvtec_tree))
        study = prepare(path, overrides, Workspace(folder), download=False)
        write(study, validated, tested)
        return study

    return made


@pytest.fixture(scope="module")
def study(make: Callable[..., Study]) -> Study:
    """The study as it is; to read only."""
    return make()


@pytest.fixture(scope="module")
def material(study: Study) -> Material:
    """Of it."""
    return gathered(study)


def test_intervals_are_drawn_by_the_studys_seed(study: Study, material: Material) -> None:
    """A thousand times each; the images are those of the record, each in its part."""
    found = material.findings[0]
    assert (found.seed, found.n_resamples) == (study.spec.seed, 1000)
    assert set(found.images) == {"validation", "test"}
    assert set(found.test.scores[found.test.labels]) == {2}
    assert set(found.test.defects) == {"good", "glare", "hole"}
    assert found.test.names[0].startswith(f"{found.record.category}/test/")


def test_what_is_chosen_was_chosen_on_the_validation_part(material: Material) -> None:
    """Lead, chosen setting, first claim and verdict are the best on validation, with its own test figure beside it."""
    assert material.chosen is not None
    assert material.chosen.params["coreset_ratio"] == 0.5
    assert material.leads == (material.chosen,)
    use, chosen, *_ = find_claims(material, ())
    assert (use.kind, chosen.kind) == ("use", "chosen")
    assert use.settings[0] == chosen.settings[0] == material.chosen.label
    assert f"{material.chosen.label} was chosen on the validation part (image AUROC 0.900 there)" in chosen.text
    assert "reaches image AUROC 0.810" in chosen.text
    assert "0.970" not in chosen.text


@pytest.mark.parametrize("tested", [{0.1: 0.1, 0.5: 0.5, 0.9: 0.9}, {0.1: 0.9, 0.5: 0.1, 0.9: 0.5}])
def test_no_test_figure_moves_the_choice(make: Callable[..., Study], tested: dict[float, float]) -> None:
    """Whatever the test part says, the same setting is chosen."""
    found = gathered(make(tested=tested))
    assert found.chosen is not None
    assert found.chosen.params["coreset_ratio"] == 0.5


def test_among_equals_the_smaller_model_is_chosen(make: Callable[..., Study]) -> None:
    """Equal on the validation part: the size decides, not the test figure nor the order in the file."""
    found = gathered(make("methods[0].grid.coreset_ratio=[0.9, 0.5, 0.1]", validated=dict.fromkeys(VALIDATED, 0.8)))
    assert found.chosen is not None
    assert found.chosen.params["coreset_ratio"] == 0.1


def test_the_verdict_is_decided_on_validation_and_told_with_test_figures(material: Material) -> None:
    """The shifted validation scores lie above the old threshold and part at the new one: recalibrate, and no more."""
    (verdict,) = find_verdicts(material)
    assert (verdict.clean, verdict.shifted) == ("use it", "recalibrate it")
    assert {s.name: s.avoided for s in verdict.states} == {
        "clean": 1, "as it is": 0, "recalibrated": 1, "refitted": 1,
    }  # fmt: skip
    text = next(c.text for c in find_claims(material, ()) if c.kind == "verdict")
    assert "use it, at the threshold 1.5: 5.0% false alarms" in text
    assert "when light, pose and sensor change: recalibrate it" in text
    assert "90.0% false alarms and 0.0% misses as it is" in text
    assert "30.0% false alarms and 50.0% misses recalibrated" in text
    assert "20.0% false alarms and 25.0% misses refitted" in text


@pytest.mark.parametrize(
    ("avoided", "action"),
    [
        ((0.90, 0.94, 0.94), "use it"),  # less than .05 better
        ((0.90, 0.96, 0.97), "recalibrate it"),
        ((0.10, 0.60, 0.70), "refit it"),
        ((0.10, 0.20, 0.49), "do not use it"),
        ((0.10, 0.20, 0.50), "refit it"),
        ((float("nan"), 0.9, 0.9), "not judged"),
    ],
)
def test_the_least_work_that_serves(avoided: tuple[float, float, float], action: str) -> None:
    """Recalibrating and refitting must each avoid .05 more; below one half nothing serves."""
    assert decide(list(zip(("as it is", "recalibrated", "refitted"), avoided, strict=True))) == action  # type: ignore[arg-type]


def test_the_first_screen_shows_threshold_and_errors_of_every_state(material: Material) -> None:
    """False alarms fall from 90 to 30 % where F1 would hide it; the verdict stands at the state that it names."""
    found = find(material)
    section = answer(material, found.claims, found.verdicts)
    assert section is not None
    (table,) = section.tables
    rows = [dict(zip(table.heads, row, strict=True)) for row in table.rows]
    assert [(r["images"].text, r["verdict"].text, r["threshold"].text) for r in rows] == [
        ("clean", "use it", "1.5"), ("shifted, as it is", "\N{EN DASH}", "1.5"),
        ("shifted, recalibrated", "recalibrate it", "3.5"), ("shifted, refitted", "\N{EN DASH}", "1.5"),
    ]  # fmt: skip
    assert [r["false alarms, %"].value for r in rows] == pytest.approx([5, 90, 30, 20])
    assert [r["misses, %"].value for r in rows] == [25, 0, 50, 25]


def test_the_leaderboard_marks_the_choice_and_no_best_test_figure(material: Material) -> None:
    """Bold is the validation part's choice; no figure of the test part is marked."""
    section = leaderboard(material)
    assert section is not None
    marked = {cell.text for row in section.tables[0].rows for cell in row if cell.best}
    assert material.chosen is not None
    assert marked == {material.chosen.label}


def test_the_report_keeps_its_claims_for_terminal_and_mlflow(study: Study) -> None:
    """claims.json has the sentences of the page."""
    written = write_report(study)
    kept = json.loads((written.page.parent / "claims.json").read_text())
    assert [c["kind"] for c in kept] == ["use", "chosen", "verdict", "ablation", "hard"]
    page = written.page.read_text()
    assert all(c["text"] in page for c in kept)
    assert "(validation chose 0.5): 0.1: 0.930 and 0.500, 2 MB; 0.5: 0.810 and 0.500, 10 MB" in kept[3]["text"]


def test_repeats_are_averaged_wherever_a_figure_is_claimed(make: Callable[..., Study]) -> None:
    """Over two repeats with AUROC .81 each the mean is claimed with the interval of repeats, not of the first."""
    found = gathered(make("repeats=2"))
    assert found.chosen is not None
    assert found.values(found.chosen, "clean", "image_auroc") == pytest.approx([0.81, 0.81])
    between = found.interval(found.chosen, "clean", "image_auroc")
    assert (between.low, between.high) == pytest.approx((0.81, 0.81))


def test_without_anomalous_images_nothing_is_said_of_figures_that_need_them(
    make: Callable[..., Study], mvtec_tree: Path
) -> None:
    """That misses are not known comes first; the verdict has false alarms and no misses."""
    material = gathered(
        make(
            f"dataset={{kind: folder, root: {mvtec_tree / 'gear'}, normal: [train/good/*]}}",
            "thresholds={objective: normal_max}",
            validated=dict.fromkeys(VALIDATED),
            tested=dict.fromkeys(TESTED),
        )
    )
    use, first, *_ = find_claims(material, ())
    assert use.text.startswith(
        "Which setting to use is not known: there are no anomalous validation images of gear, so what a threshold "
        "misses was not judged."
    )
    assert first.text.startswith("There are no anomalous test images of gear: what a method misses is not known")
    assert "AUROC" not in first.text
    assert find_verdicts(material)[0].clean == "not judged"


def test_words_for_the_shift_name_only_what_is_on() -> None:
    """A study that moves parts alone does not speak of light and sensor."""
    off = dict.fromkeys(("brightness", "contrast", "saturation", "blur", "noise", "illumination"))
    assert shift_words(StudyShift()) == "light, pose and sensor"
    assert shift_words(StudyShift.model_validate(off)) == "pose"
