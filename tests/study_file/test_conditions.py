"""Conditions as axes: which runs there are, which images they see, and what stays as it was."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from adloc.datasets.sample import Fingerprint, Sample
from adloc.datasets.shift import ShiftConfig, draw_parameters
from adloc.errors import UserError
from adloc.keys import content_key
from adloc.planning.inventory import Inventory
from adloc.planning.plan import make_plan
from adloc.study_file.axes import FACTORS, StudyShift
from adloc.study_file.conditions import Condition
from adloc.study_file.spec import StudySpec
from adloc.study_file.validation import load_study
from handmade import Nowhere

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.plan import Plan, Run

FOUR = ["clean", "no_adaptation", "threshold_only", "full_adaptation"]


def plan_of(categories: tuple[str, ...], **study: Any) -> Plan:
    """The plan of a PatchCore study: 20 train, 4 good and 10 + 10 anomalous test images a category."""
    counts = (("train", "good", 20), ("test", "good", 4), ("test", "cut", 10), ("test", "dent", 10))
    samples = [
        Sample(category, f"{origin}/{defect}/{i:03d}.png", origin, defect, Nowhere())
        for category in categories
        for origin, defect, n in counts
        for i in range(n)
    ]
    prints = {s.identity: Fingerprint(f"sha-{s.identity}", f"mask-{s.identity}" * s.label, 64, 64) for s in samples}
    known = Inventory(samples, prints, {("resnet18", "default", 42): "weights"})
    patchcore = {"method": "patchcore", "params": {"backbone": "resnet18"}}
    spec = {"study": "s", "dataset": {"kind": "textures"}, "methods": [patchcore], **study}
    return make_plan(StudySpec.model_validate(spec), known)


def axis_plan(**study: Any) -> Plan:
    """A plan over one category."""
    return plan_of(("a",), **study)


def conditions_of(plan: Plan, regime: str) -> list[dict[str, Any]]:
    """What the runs of a regime stand on."""
    return [run.condition.values() for run in plan.runs if run.regime == regime]


def train_names(run: Run) -> set[str]:
    """Identities of the images that a run is fitted on."""
    return {sample.identity for sample in run.train_part.samples}


def validation_names(run: Run, label: int) -> set[str]:
    """Identities of the validation images of a class."""
    assert run.validation is not None
    return {s.identity for s in run.validation.truth.part.samples if s.label == label}


def test_a_study_without_axes_has_no_conditions() -> None:
    """Every run is a base run, on no axis, with the study's heatmaps."""
    plan = axis_plan(regimes=FOUR)
    assert {(run.condition, run.base, run.heatmaps) for run in plan.runs} == {(Condition(), True, 8)}


def test_keys_of_shifted_images_are_what_they_were() -> None:
    """The shift that goes into keys has exactly the fields that it had before there were axes."""
    plan = axis_plan(regimes=["no_adaptation"], shift={"preset": "mvtec_shift_proposal", "severity": 0.5})
    part = plan.runs[0].test.truth.part
    before = {
        "preset", "seed", "rotation_deg", "scale", "translation", "crop", "brightness", "contrast", "saturation",
        "blur", "noise", "illumination", "fill", "fill_value", "severity",
    }  # fmt: skip
    shift = ShiftConfig(preset="mvtec_shift_proposal", severity=0.5).model_dump(mode="json", include=before)
    assert set(shift) == before
    sample, known = part.samples[0], part.fingerprints[0]
    expected = content_key(["shifted", known.sha256, sample.identity, json.dumps(shift, sort_keys=True)])
    assert part.image_keys[0] == expected


def test_an_axis_shares_records_keys_with_no_other_value() -> None:
    """Each value of an axis is a run and a macro group of its own."""
    plan = axis_plan(regimes=FOUR, shift={"severity": [0.5, 1, 2]})
    assert len({run.run_id for run in plan.runs}) == len({run.group for run in plan.runs}) == len(plan.runs)


def test_severity_is_an_axis_of_shifted_regimes_alone() -> None:
    """Clean has one run with no severity; each other regime a run a severity, 1 the base and the only one pictured."""
    plan = axis_plan(regimes=FOUR, shift={"severity": [0.5, 1, 2]})
    assert conditions_of(plan, "clean") == [{}]
    for regime in FOUR[1:]:
        assert conditions_of(plan, regime) == [{"severity": 1}, {"severity": 0.5}, {"severity": 2}]
        base, *others = [run for run in plan.runs if run.regime == regime]
        assert (base.base, base.heatmaps) == (True, 8)
        assert {(run.base, run.heatmaps) for run in others} == {(False, 0)}
        for run in (base, *others):
            shift = run.test.truth.part.shift
            assert shift is not None
            assert shift.severity == run.condition.severity


def test_base_severity_is_the_largest_without_one() -> None:
    """Where 1 is not listed the main tables are of the hardest shift."""
    assert StudyShift(severity=(0.5, 2, 1.5)).base_severity == 2
    assert StudyShift(severity=(0.5, 1, 1.5)).base_severity == 1


def test_severities_share_the_clean_model() -> None:
    """The clean model is fitted once whatever the number of severities; a shifted one for each."""
    plan = axis_plan(regimes=FOUR, shift={"severity": [0.5, 1, 2]})
    assert plan.count()["patchcore.coreset"] == 1 + 3


def test_a_severity_that_cannot_be_is_named(tmp_path: Path) -> None:
    """The message points at the item's key and says what to use, as for a single severity."""
    with pytest.raises(UserError, match=r"use at most 18, or a narrower rotation_deg") as caught:
        load_study(write_study(tmp_path, "shift: {severity: [1, 50]}"))
    assert "shift.severity" in str(caught.value)


@pytest.mark.parametrize("key", ["severity: [1, 2]", "factors: each"])
def test_an_axis_of_the_shift_needs_a_shifted_regime(tmp_path: Path, key: str) -> None:
    """A study of clean images alone would run nothing on it."""
    with pytest.raises(UserError, match="no regime tests on shifted images"):
        load_study(write_study(tmp_path, f"shift: {{{key}}}"))


def test_two_axes_of_training_images_exclude_each_other(tmp_path: Path) -> None:
    """learning_curve and train.images say the same thing."""
    with pytest.raises(UserError, match="both say how many images"):
        load_study(write_study(tmp_path, "train: {images: 8}", "learning_curve: {}"))


def write_study(folder: Path, *lines: str) -> Path:
    """A small study file with these lines."""
    path = folder / "s.yaml"
    head = ["study: s", "dataset: {kind: textures}", "methods: [{method: patchcore}]"]
    path.write_text("\n".join([*head, *lines]))
    return path


def test_each_runs_every_group_alone_and_all_together() -> None:
    """Five groups and all of them; a group alone has the transforms of the others switched off."""
    plan = axis_plan(regimes=["clean", "no_adaptation"], shift={"factors": "each"})
    found = [c["factors"] for c in conditions_of(plan, "no_adaptation")]
    assert found == ["all", "geometry", "colour", "blur", "noise", "illumination"]
    assert conditions_of(plan, "clean") == [{}]
    blurred = next(run for run in plan.runs if run.condition.factors == "blur").test.truth.part.shift
    assert blurred is not None
    assert blurred.blur == ShiftConfig().blur
    others = [key for name, group in FACTORS.items() if name != "blur" for key in group]
    assert {getattr(blurred, key) for key in others} == {None}


def test_factorial_runs_every_combination_once() -> None:
    """2^5 - 1 non-empty combinations of five groups; 2^4 - 1 when one is switched off."""
    assert len(set(StudyShift(factors="factorial").combinations)) == 31
    assert len(set(StudyShift(factors="factorial", noise=None).combinations)) == 15
    assert StudyShift(factors="each", noise=None).combinations == ("geometry", "colour", "blur", "illumination", "all")


@pytest.mark.parametrize("factor", FACTORS)
@pytest.mark.parametrize("preset", ["mvtec_shift", "mvtec_shift_proposal"])
def test_a_factor_alone_is_its_part_in_the_whole(factor: str, preset: Any) -> None:
    """What is drawn for a group by itself is what is drawn for it when all happen; the others do nothing."""
    fields = {
        "geometry": ("rotation_deg", "scale", "translate_x", "translate_y", "crop_left", "crop_width"),
        "colour": ("brightness", "contrast", "saturation"),
        "blur": ("blur_kernel", "blur_sigma"),
        "noise": ("noise_sigma",),
        "illumination": ("shade", "shade_strength", "spot_x"),
    }
    neutral = {"rotation_deg": 0, "scale": 1, "brightness": 1, "saturation": 1, "blur_sigma": 0, "noise_sigma": 0,
               "shade": "none"}  # fmt: skip
    shift = StudyShift(preset=preset, factors="each")
    for number in range(20):
        alone = draw_parameters(shift.plain(factors=factor), f"a/{number}")
        whole = draw_parameters(shift.plain(), f"a/{number}")
        assert whole == draw_parameters(ShiftConfig(preset=preset), f"a/{number}")
        for name, group in fields.items():
            for field in group:
                if name == factor:
                    assert getattr(alone, field) == getattr(whole, field)
                elif field in neutral:
                    assert getattr(alone, field) == neutral[field]


def test_one_axis_moves_at_a_time() -> None:
    """3 severities and 6 sets of factors are 1 + 2 + 5 runs, not 18."""
    plan = axis_plan(regimes=["no_adaptation"], shift={"severity": [0.5, 1, 2], "factors": "each"})
    found = conditions_of(plan, "no_adaptation")
    assert len(found) == 1 + 2 + 5
    assert found[0] == {"severity": 1, "factors": "all"}
    assert all(c["severity"] == 1 or c["factors"] == "all" for c in found)


def test_a_learning_curve_is_of_the_first_regime_and_its_draws_are_nested() -> None:
    """Points below the 16 images there are, three draws each; all of them is the base run, once."""
    curve = {"train_images": [1, 4, 8, 32, "all"], "draws": 3}
    plan = axis_plan(regimes=["clean", "no_adaptation"], learning_curve=curve)
    assert conditions_of(plan, "no_adaptation") == [{"train_images": "all", "draw": 0}]
    runs = {(r.condition.train_images, r.condition.draw): r for r in plan.runs if r.regime == "clean"}
    assert set(runs) == {("all", 0)} | {(n, d) for n in (1, 4, 8) for d in range(3)}
    assert [r.base for r in runs.values()] == [True] + [False] * 9
    for draw in range(3):
        sets = [train_names(runs[n, draw]) for n in (1, 4, 8)]
        assert [len(names) for names in sets] == [1, 4, 8]
        assert sets[0] < sets[1] < sets[2] < train_names(runs["all", 0])
    assert len({frozenset(train_names(runs[8, d])) for d in range(3)}) == 3


def test_a_learning_curve_begins_where_the_method_has_a_fit() -> None:
    """PaDiM's covariance takes two images, PatchCore's bank one: no run is planned that could only fail."""
    both = [{"method": name, "params": {"backbone": "efficientnet_lite0"}} for name in ("patchcore", "padim")]
    plan = axis_plan(methods=both, learning_curve={"train_images": [1, 2, "all"], "draws": 1})
    found: dict[str, set[object]] = {}
    for run in plan.runs:
        found.setdefault(run.variant.method.name, set()).add(run.condition.train_images)
    assert found == {"patchcore": {1, 2, "all"}, "padim": {2, "all"}}


def test_a_learning_curve_costs_no_features() -> None:
    """Fewer images are some of the same: not one image passes the backbone more often than without a curve."""

    def images(**study: Any) -> set[str]:
        plan = axis_plan(**study)
        return {k for s in plan.stages.values() if s.kind == "features" for k in s.image_keys}  # type: ignore[union-attr]

    assert images(learning_curve={"draws": 3}) == images()


def test_all_images_are_the_fit_that_a_study_without_the_axis_has() -> None:
    """The base run of a learning curve shares every stage with the plain study; thresholds are of the same images."""
    (plain,) = axis_plan().runs
    plan = axis_plan(learning_curve={"draws": 2})
    assert plan.runs[0].fit[-1].key == plain.fit[-1].key
    assert plan.runs[0].threshold is not None
    assert plain.threshold is not None
    assert plan.runs[0].threshold.key == plain.threshold.key
    assert plan.count()["truth"] == 2


def test_one_number_of_images_is_no_axis() -> None:
    """The part is smaller, nothing else; the plan's parts say so."""
    plan = axis_plan(train={"images": 8})
    assert [(run.condition, len(run.train_part)) for run in plan.runs] == [(Condition(), 8)]
    assert len(plan.parts["a"].train) == 8


def test_images_are_an_axis_of_every_regime() -> None:
    """A list runs everywhere; the largest is the base where all is not listed."""
    plan = axis_plan(regimes=["clean", "no_adaptation"], train={"images": [4, 8]})
    for regime in ("clean", "no_adaptation"):
        assert conditions_of(plan, regime) == [{"train_images": 8}, {"train_images": 4}]


def test_images_that_are_not_there_are_refused() -> None:
    """16 of 20 normal images are the train part: 17 is more than there are."""
    with pytest.raises(UserError, match=r"train.images is 17, and the train part has 16 images"):
        axis_plan(train={"images": 17})


def test_contamination_takes_defects_from_the_validation_part_at_every_level() -> None:
    """16 normals: 1 defect makes 5 % (.84), 4 make 20 %; those 4 of 6 leave the validation part at 0 and 5 % too."""
    plain = axis_plan().runs[0]
    there = validation_names(plain, 1)
    assert len(there) == 6
    plan = axis_plan(train={"contamination": [0, 0.05, 0.2]})
    assert conditions_of(plan, "clean") == [{"contamination": c} for c in (0.0, 0.05, 0.2)]
    assert [run.base for run in plan.runs] == [True, False, False]
    fitted = [train_names(run) - train_names(plain) for run in plan.runs]
    assert [len(names) for names in fitted] == [0, 1, 4]
    assert fitted[1] < fitted[2] < there
    for run in plan.runs:
        assert validation_names(run, 1) == there - fitted[2]
        assert validation_names(run, 0) == validation_names(plain, 0)
        assert run.test.truth.key == plain.test.truth.key


def test_contamination_leaves_the_f1_threshold_a_defect() -> None:
    """6 defects, of which F1 needs one: 5 beside 16 normals are .238; a quantile of normals could spare all 6."""
    with pytest.raises(UserError, match=r"the validation part has 6") as caught:
        axis_plan(train={"contamination": [0, 0.28]})  # .28 / .72 * 16 = 6.2
    assert "use at most 0.23, or raise split.validation_defects" in str(caught.value)
    axis_plan(train={"contamination": [0, 0.23]})
    axis_plan(train={"contamination": [0, 0.28]}, thresholds={"objective": "normal_quantile"})


def test_unified_models_take_their_images_of_each_category() -> None:
    """4 images of each of two categories are 8 in the pooled fit."""
    plan = plan_of(("a", "b"), scopes=["unified"], train={"images": [4, "all"]})
    few = [run for run in plan.runs if not run.base]
    assert [Counter(s.category for s in run.train_part.samples) for run in few] == [Counter(a=4, b=4)] * 2


def test_a_fit_is_given_no_test_image_under_any_condition() -> None:
    """Parts stay apart by content at every number of images and every share of defects."""
    plan = axis_plan(regimes=FOUR, train={"images": [4, "all"], "contamination": [0, 0.2]})
    test = {s.identity for s in plan.runs[0].test.truth.part.samples}
    for run in plan.runs:
        assert run.validation is not None
        judged = {s.identity for s in run.validation.truth.part.samples}
        assert train_names(run).isdisjoint(judged | test)
