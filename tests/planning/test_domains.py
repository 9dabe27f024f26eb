"""Real domains in a plan: which images are the source's and which a target's, what a target lacks, what leaks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from adloc.answer.results import table
from adloc.datasets.errors import DatasetError
from adloc.datasets.sample import Fingerprint, Sample
from adloc.errors import UserError
from adloc.planning.inventory import Inventory
from adloc.planning.plan import make_plan
from adloc.planning.targets import Target
from adloc.sealing.seal import plan_content
from adloc.study_file.conditions import Condition, described
from adloc.study_file.spec import StudySpec
from adloc.study_file.validation import load_study
from handmade import Nowhere, record, record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from adloc.planning.plan import Plan

FOUR = ["clean", "no_adaptation", "threshold_only", "full_adaptation"]
COUNTS = (("train", "good", 20), ("test", "good", 4), ("test", "cut", 10))
GOLDEN = [
    ("a-patchcore-354a02814fd0", "88cf00e145a32b12087323b382445b43"),
    ("a-patchcore-a5df14a818fd", "bcb1f337b74708cf8c559d9fbccdda6a"),
    ("a-patchcore-ae5270838117", "bb7bf38a3210b806f43ec780da2811b4"),
    ("a-patchcore-859413614fbd", "4775e6da26ffe699e80d241dcc9efc00"),
]


def images(
    category: str = "a", counts: Iterable[tuple[Any, str, int]] = COUNTS, prefix: str = "", **values: Any
) -> list[Sample]:
    """Images of one category, so many of each part and defect."""
    return [
        Sample(category, f"{origin}/{defect}/{prefix}{i:03d}.png", origin, defect, Nowhere(), **values)
        for origin, defect, n in counts
        for i in range(n)
    ]


def prints(samples: Sequence[Sample], domain: str) -> dict[str, Fingerprint]:
    """Different pixels in every domain, under whatever name."""
    return {s.identity: Fingerprint(f"{domain}-{s.identity}", "mask" * s.label, 64, 64) for s in samples}


def plan_of(source: list[Sample], targets: dict[str, list[Sample]], **study: Any) -> Plan:
    """The plan of a PatchCore study from the source to the targets."""
    known = {name: Target(samples, prints(samples, name)) for name, samples in targets.items()}
    inventory = Inventory(source, prints(source, "source"), {("resnet18", "default", 42): "weights"}, known)
    patchcore = {"method": "patchcore", "params": {"backbone": "resnet18"}}
    shift = {"kind": "domains", "targets": list(targets)} | study.pop("shift", {})
    spec = {"study": "s", "dataset": {"kind": "textures"}, "methods": [patchcore], "regimes": FOUR, **study}
    return make_plan(StudySpec.model_validate(spec | {"shift": shift}), inventory)


def by_domain(plan: Plan) -> list[tuple[str, str]]:
    """Regime and domain of every run."""
    return [(run.regime, run.domain) for run in plan.runs]


def test_every_shifted_regime_is_run_in_every_target() -> None:
    """One clean run, which no target touches; the first target is the base of the main tables."""
    plan = plan_of(images(), {"day": images(), "night": images()})
    expected = [(regime, domain) for regime in FOUR[1:] for domain in ("day", "night")]
    assert by_domain(plan) == [("clean", "clean"), *expected]
    assert [run.domain for run in plan.runs if run.base] == ["clean", "day", "day", "day"]
    assert plan.runs[0].condition == Condition()
    assert all(run.heatmaps for run in plan.runs)
    assert len({run.run_id for run in plan.runs}) == len({run.group for run in plan.runs}) == 7


def test_regimes_read_shift_as_the_target() -> None:
    """The protocol's table: fitted, calibrated and tested on the parts of the domain that it says, never shifted."""
    plan = plan_of(images(), {"day": images()})
    for run in plan.runs[1:]:
        assert run.validation is not None
        found = (run.train_part.domain, run.validation.truth.part.domain, run.test.truth.part.domain)
        assert (
            found
            == {
                "no_adaptation": ("clean", "clean", "day"),
                "threshold_only": ("clean", "day", "day"),
                "full_adaptation": ("day", "day", "day"),
            }[run.regime]
        )
        assert run.test.truth.part.shift is None
        assert {f.sha256.partition("-")[0] for f in run.test.truth.part.fingerprints} == {"day"}


def test_a_simulated_shift_stands_beside_real_ones() -> None:
    """Its severities are conditions of its own domain alone; the runs of the real one have none."""
    plan = plan_of(images(), {"day": images()}, shift={"synthetic": {"severity": [0.5, 1]}}, regimes=FOUR[:2])
    assert [run.condition.values() for run in plan.runs] == [
        {}, {"domain": "day"}, {"domain": "shift", "severity": 1.0}, {"domain": "shift", "severity": 0.5},
    ]  # fmt: skip
    assert [run.heatmaps > 0 for run in plan.runs] == [True, True, True, False]
    assert [run.test.truth.part.shift is None for run in plan.runs] == [True, True, False, False]


def test_other_axes_are_varied_in_the_first_domain_alone() -> None:
    """One axis moves at a time: the few-shot runs are of the base domain."""
    plan = plan_of(images(), {"day": images(), "night": images()}, train={"images": [4, "all"]}, regimes=FOUR[1:2])
    assert [run.condition.values() for run in plan.runs] == [
        {"domain": "day", "train_images": "all"}, {"domain": "day", "train_images": 4},
        {"domain": "night", "train_images": "all"},
    ]  # fmt: skip


def test_an_image_stands_in_the_same_part_in_every_domain() -> None:
    """By its name, whatever else the target has; images that the source lacks are drawn among themselves."""
    fewer = [s for s in images() if not s.name.endswith(("3.png", "7.png"))]
    plan = plan_of(images(), {"day": [*fewer, *images(counts=[("train", "good", 10)], prefix="new_")]})
    clean, day = plan.parts["a"], plan.targets["day"]["a"]
    for part, other in ((clean.train, day.train), (clean.validation, day.validation), (clean.test, day.test)):
        kept = {s.identity for s in part.samples if not s.name.endswith(("3.png", "7.png"))}
        assert {s.identity for s in other.samples if "new_" not in s.name} == kept
    assert sum("new_" in s.name for s in day.train.samples) == 8  # 80 % of ten


def test_the_format_of_a_file_is_no_part_of_its_name() -> None:
    """A camera that writes another format: the same objects on the same sides."""
    other = [replace(s, name=s.name.replace(".png", ".bmp")) for s in images()]
    plan = plan_of(images(), {"day": other})
    clean, day = plan.parts["a"], plan.targets["day"]["a"]
    for name in ("train", "validation", "test"):
        stems = [[s.name[:-4] for s in getattr(parts, name).samples] for parts in (clean, day)]
        assert stems[0] == stems[1]


def test_a_group_stays_on_one_side_in_all_domains() -> None:
    """Boards photographed by two cameras: no board is fitted on in one and tested or calibrated on in the other."""
    source = [replace(s, name=f"{s.name[:-4]}_old_board{i % 7}.png") for i, s in enumerate(images(counts=COUNTS[:1]))]
    source += images(counts=COUNTS[1:], prefix="x_board_none")
    camera = [replace(s, name=s.name.replace("_old_", "_new_")) for s in source if "board3" not in s.name]
    plan = plan_of(source, {"camera": camera}, split={"group": "(board.*)[.]png"})
    clean, other = plan.parts["a"], plan.targets["camera"]["a"]

    def boards(samples: Iterable[Sample]) -> set[str]:
        return {s.name.partition("board")[2] for s in samples}

    assert boards(other.train.samples) == boards(clean.train.samples) - {"3.png"}
    assert not boards(clean.train.samples) & boards([*other.validation.samples, *other.test.samples])


def test_a_target_without_normals_to_fit_on_lacks_full_adaptation_alone() -> None:
    """Official parts: it validates and tests, so the other regimes are run; the plan says what is not and why."""
    parts = (("train", 5), ("validation", 4), ("test", 6))
    source = [
        replace(s, part=part) for part, n in parts for s in images(counts=[("train", "good", n)], prefix=part)
    ] + [replace(s, part=part) for part in ("validation", "test") for s in images(counts=COUNTS[2:], prefix=part)]
    target = [s for s in source if s.part != "train"]
    plan = plan_of(source, {"day": target}, split={"kind": "official"})
    assert by_domain(plan) == [("clean", "clean"), ("no_adaptation", "day"), ("threshold_only", "day")]
    assert [str(each) for each in plan.absent] == ["a, full_adaptation on day: it has no normal images to fit on"]


def test_a_target_without_validation_normals_is_tested_on_alone() -> None:
    """Drawn parts: without normals to fit on there are none to validate on, and the F1 threshold needs one."""
    plan = plan_of(images(), {"day": images(counts=COUNTS[1:])})
    assert by_domain(plan) == [("clean", "clean"), ("no_adaptation", "day")]
    assert [(each.regime, each.domain) for each in plan.absent] == [
        ("threshold_only", "day"),
        ("full_adaptation", "day"),
    ]
    assert "no normal image" in plan.absent[0].reason


def test_few_shot_in_the_target_needs_as_many_images_there() -> None:
    """What other regimes fit on is the source's."""
    fewer = images(counts=[("train", "good", 4), *COUNTS[1:]], prefix="day_")
    plan = plan_of(images(), {"day": fewer}, train={"images": 8})
    assert ("threshold_only", "day") in by_domain(plan)
    assert [each.reason for each in plan.absent] == ["it has 3 normal images to fit on, not 8"]


def test_a_category_that_a_target_lacks_is_run_elsewhere() -> None:
    """No average of one category where the clean average is of two."""
    two = [*images("a"), *images("b")]
    plan = plan_of(two, {"day": images("a")}, regimes=FOUR[:2])
    assert [(run.category, run.domain) for run in plan.runs] == [("a", "clean"), ("a", "day"), ("b", "clean")]
    assert [str(each) for each in plan.absent] == ["b, no_adaptation on day: it has no test images"]
    rows = table(plan, [record_of(run) for run in plan.runs])
    assert [(row["category"], row["domain"]) for row in rows] == [
        ("a", "clean"), ("a", "day"), ("b", "clean"), ("macro", "clean"),
    ]  # fmt: skip


def test_a_unified_model_is_fitted_on_a_target_that_has_every_category() -> None:
    """One category without normals there keeps the pooled fit from being one of all."""
    two = [*images("a"), *images("b")]
    plan = plan_of(two, {"day": [*images("a"), *images("b", COUNTS[1:])]}, scopes=["unified"])
    assert {run.regime for run in plan.runs if run.domain == "day"} == {"no_adaptation", "threshold_only"}
    assert "it has no normal images of b to fit on" in {each.reason for each in plan.absent}


def test_a_study_of_which_nothing_can_be_run_is_refused() -> None:
    """With every reason."""
    with pytest.raises(UserError) as caught:
        plan_of(images(), {"day": images(counts=COUNTS[2:])}, regimes=["full_adaptation"])
    assert "no normal images to fit on" in str(caught.value)


@pytest.mark.parametrize(("twin", "refused"), [("train", True), ("validation", True), ("test", False)])
def test_a_target_tested_on_an_image_of_the_sources_fit_is_refused(twin: str, refused: bool) -> None:
    """By pixels, whatever its name; the source's own test image may be the target's, as under a shift of nothing."""
    source, target = images(), images(prefix="other_")
    known = prints(target, "day")
    clean = plan_of(source, {"day": target}).parts["a"]
    stolen = getattr(clean, twin).fingerprints[0]
    tested = next(s for s in target if s.name.startswith("test/good"))
    known[tested.identity] = stolen
    inventory = Inventory(source, prints(source, "source"), {}, {"day": Target(target, known)})
    spec = {
        "study": "s", "dataset": {"kind": "textures"}, "methods": [{"method": "padim"}], "regimes": FOUR,
        "shift": {"kind": "domains", "targets": ["day"]},
    }  # fmt: skip
    if not refused:
        assert make_plan(StudySpec.model_validate(spec), inventory).runs
        return
    with pytest.raises(DatasetError) as caught:
        make_plan(StudySpec.model_validate(spec), inventory)
    assert f"({twin} of the source)" in str(caught.value)


def test_keys_without_real_domains_are_what_they_were() -> None:
    """Run ids, keys and seal of a study, as they were before there were domains; `kind: synthetic` changes none."""
    known = Inventory(images(), prints(images(), "source"), {("resnet18", "default", 42): "weights"})
    patchcore = {"method": "patchcore", "params": {"backbone": "resnet18"}}
    spec = {"study": "s", "dataset": {"kind": "textures"}, "methods": [patchcore], "regimes": FOUR}
    plain = make_plan(StudySpec.model_validate(spec), known)
    named = make_plan(StudySpec.model_validate(spec | {"shift": {"kind": "synthetic"}}), known)
    assert [(run.run_id, run.key) for run in plain.runs] == [(run.run_id, run.key) for run in named.runs]
    assert plan_content(plain) == plan_content(named)
    assert [(run.run_id, run.key) for run in plain.runs] == GOLDEN
    assert [run.condition.values() for run in plain.runs] == [{}] * 4


def test_a_seal_does_not_hold_where_the_images_lie() -> None:
    """A study moved to another machine is the same; other targets are not."""
    contents = []
    for root in ("/here", "/there"):
        spec = StudySpec.model_validate(
            {
                "study": "s", "dataset": {"kind": "mvtec_ad", "root": root}, "methods": [{"method": "padim"}],
                "regimes": FOUR, "shift": {"kind": "domains", "targets": {"day": f"{root}/day"}},
            }
        )  # fmt: skip
        inventory = Inventory(images(), prints(images(), "s"), {}, {"day": Target(images(), prints(images(), "day"))})
        contents.append(plan_content(make_plan(spec, inventory)))
    assert contents[0] == contents[1]
    assert contents[0]["study"]["shift"] == {"kind": "domains", "targets": ["day"]}  # type: ignore[call-overload, index]


def test_a_record_says_its_domain_whenever_it_was_written() -> None:
    """Of the regime where it names none, as in records from before there were domains."""
    assert record(regime="clean").domain == "clean"
    assert record(regime="full_adaptation").domain == "shift"
    assert record(regime="threshold_only", condition={"domain": "day"}).domain == "day"


def test_the_name_of_a_run_has_a_real_domain_alone() -> None:
    """Clean and simulated images are what the regime says."""
    assert list(described({"domain": "day", "severity": 0.5})) == ["domain day", "severity 0.5"]
    assert list(described({"domain": "shift"})) == list(described({"domain": "clean"})) == []


def mistakes(folder: Path, shift: str, more: str = "regimes: [clean, no_adaptation]") -> str:
    """What is said of a study file with this shift."""
    path = folder / "s.yaml"
    path.write_text(f"study: s\ndataset: {{kind: textures}}\nshift: {shift}\n{more}\nmethods: [{{method: padim}}]\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ("{kind: domain, targets: [day]}", "s.yaml:3: shift.kind is domain"),
        ("{kind: domains}", "s.yaml:3: shift.targets is missing"),
        ("{kind: domains, targets: []}", "at least one domain"),
        ("{kind: domains, targets: [day, day]}", "day is there twice"),
        ("{kind: domains, source: day, targets: [day]}", "day is the source"),
        ("{kind: domains, targets: [shift]}", "another name"),
        ("{kind: domains, targets: [day], severity: [1, 2]}", "write it under synthetic"),
        ("{kind: domains, targets: [day], synthetic: {severity: -1}}", "shift.synthetic.severity is -1"),
        ("{kind: domains, targets: [day], synthetic: {rotatin: 1}}", "shift.synthetic.rotatin is not a key here"),
        ("{kind: synthetic, severity: -1}", "s.yaml:3: shift.severity is -1"),
        ("{severity: -1}", "s.yaml:3: shift.severity is -1"),
        ("{kind: domains, targets: {day: /there}}", "a dataset of kind textures has none"),
    ],
)
def test_mistakes_are_named_where_they_stand(tmp_path: Path, shift: str, expected: str) -> None:
    """The key as the file has it, whichever kind of shift it belongs to."""
    assert expected in mistakes(tmp_path, shift)


def test_a_target_needs_a_regime_that_is_tested_on_it(tmp_path: Path) -> None:
    """Clean alone never reads it."""
    assert "no regime tests on it" in mistakes(tmp_path, "{kind: domains, targets: [day]}", "regimes: [clean]")
