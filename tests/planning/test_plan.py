"""The plan: which runs a study has, and which stages they share."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from adloc.datasets.sample import Fingerprint
from adloc.errors import StageMismatchError, UserError
from adloc.planning.calibration import calibrations
from adloc.planning.extents import Extents
from adloc.planning.inventory import Inventory
from adloc.planning.parts import TestPart, TrainPart, ValidationPart, require
from adloc.planning.plan import Run, deepen, make_plan, walk
from adloc.planning.sources import FeatureStage
from adloc.planning.stage_maker import StageMaker
from adloc.planning.stages import StepStage
from adloc.tuning.state import search_states
from adloc.tuning.trial import Reach
from plans import inventory, plan_of, spec_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adloc.study_file.spec import StudySpec
    from adloc.tuning.state import SearchState


def grid(**lists: list[Any]) -> list[dict[str, Any]]:
    """PatchCore with a grid."""
    return [{"method": "patchcore", "params": {"backbone": "resnet18", "reweight": "none"}, "grid": lists}]


def search_of(spec: StudySpec, known: Inventory, folder: Path) -> SearchState:
    """A study's one search, of which the folder has no trials."""
    categories = sorted({sample.category for sample in known.samples})
    maker = StageMaker(spec, known.weights)
    (state,) = search_states(spec, categories, partial(calibrations, spec, known), maker, folder)
    return state


def keys(run: Run, kind: str) -> set[str]:
    """Keys of a run's stages of one kind."""
    return {s.key for s in run.stages() if s.kind == kind}


def test_runs_are_the_product() -> None:
    """Category x variant x regime x repeat."""
    methods = grid(coreset_ratio=[0.01, 0.1], neighbours=[3, 9, 12])
    plan = plan_of(methods=methods, regimes=["clean", "no_adaptation"], repeats=2)
    assert len(plan.runs) == 2 * 6 * 2 * 2
    assert len({run.run_id for run in plan.runs}) == len(plan.runs)


def test_every_ratio_shares_one_coreset() -> None:
    """The pick order is nested: one greedy pass, to the largest ratio."""
    plan = plan_of(("a",), methods=grid(coreset_ratio=[0.01, 0.2, 0.05]))
    (key,) = {key for run in plan.runs for key in keys(run, "patchcore.coreset")}
    assert plan.extents[key] == 0.2


def test_every_number_of_neighbours_shares_one_search() -> None:
    """One search a part, at the largest k."""
    plan = plan_of(("a",), methods=grid(neighbours=[3, 9]))
    assert plan.count()["patchcore.search"] == 2  # validation and test part
    assert {plan.extents[k] for run in plan.runs for k in keys(run, "patchcore.search")} == {9.0}


def test_equal_variants_of_two_entries_run_once() -> None:
    """A ratio that stands in the params of one entry and in the grid of another is one variant."""
    alone = {"method": "patchcore", "params": {"backbone": "resnet18", "reweight": "none", "coreset_ratio": 0.1}}
    plan = plan_of(("a",), methods=[alone, *grid(coreset_ratio=[0.1, 0.5])])
    assert [run.variant.params.model_dump()["coreset_ratio"] for run in plan.runs] == [0.1, 0.5]
    assert len({run.run_id for run in plan.runs}) == 2


def test_what_goes_on_from_a_result_deepens_it_at_any_remove() -> None:
    """Of three ratios the largest asks for the most: both below it reach as far, whatever the order of the bases."""
    bases = plan_of(("a",), methods=grid(coreset_ratio=[0.01, 0.05, 0.2])).bases
    largest = next(key for key, base in bases.items() if base.key in bases)
    middle = bases[largest].key
    smallest = bases[middle].key
    for ordered in (bases, dict(reversed(bases.items()))):
        extents = {smallest: 3.0, middle: 5.0, largest: 40.0}
        deepen(extents, ordered)
        assert extents == {smallest: 40.0, middle: 40.0, largest: 40.0}
    extents = {smallest: 40.0, middle: 5.0, largest: 3.0}
    deepen(extents, bases)
    assert extents == {smallest: 40.0, middle: 5.0, largest: 3.0}


def test_trial_raises_the_searches_that_it_goes_on_from(tmp_path: Path) -> None:
    """Trials with up to 40 neighbours go on from the plan's search for 3 at a smaller ratio: it must reach as far."""
    params = {"backbone": "resnet18", "coreset_ratio": 0.5}
    space = {"neighbours": {"low": 2, "high": 40, "type": "int"}}
    methods = [
        {"method": "patchcore", "params": {"backbone": "resnet18", "neighbours": 3},
         "grid": {"coreset_ratio": [0.4, 0.5]}},
        {"method": "patchcore", "params": params, "tune": {"space": space}},
    ]  # fmt: skip
    plan = plan_of(("a",), methods=methods)
    stages = search_of(plan.spec, inventory(("a",)), tmp_path).stages
    reach = Reach(Extents.of(plan))
    trial = stages.evaluation(stages.search.variant({"neighbours": 12}), "a")
    (search,) = [stage for stage in walk(trial) if stage.kind == "patchcore.search"]
    base = plan.bases[search.key]
    assert plan.extents[base.key] == 9.0  # the untuned setting's
    reach.extend(walk(trial), stages.search)
    assert reach.extents.bases[search.key].key == base.key
    assert reach.extents.extents[search.key] == 40.0
    assert reach.extents.extents[base.key] == 40.0


def test_a_larger_ratio_changes_no_key_of_the_others() -> None:
    """A study extended by one value keeps every stage of the values that it had."""
    before = plan_of(methods=grid(coreset_ratio=[0.01, 0.05]))
    after = plan_of(methods=grid(coreset_ratio=[0.01, 0.05, 0.2]))
    assert set(before.stages) <= set(after.stages)
    assert {r.key for r in before.runs} <= {r.key for r in after.runs}


def test_regimes_share_fit_and_scores() -> None:
    """The first three regimes have one fit; the middle two the same test scores (protocol)."""
    plan = plan_of(("a",), regimes=["clean", "no_adaptation", "threshold_only", "full_adaptation"])
    clean, none, threshold, full = plan.runs
    assert clean.fit[-1].key == none.fit[-1].key == threshold.fit[-1].key != full.fit[-1].key
    assert none.test.key == threshold.test.key
    assert none.threshold is not None
    assert clean.threshold is not None
    assert none.threshold.key == clean.threshold.key
    assert plan.count()["patchcore.coreset"] == 2


def test_layers_of_all_runs_are_computed_in_one_pass() -> None:
    """An image passes a network once, for every layer that some run reads."""
    plan = plan_of(("a",), methods=grid(layers=[["layer2"], ["layer2", "layer3"], ["layer1"]]))
    assert list(plan.layers.values()) == [("layer1", "layer2", "layer3")]
    assert plan.count()["features"] == 3  # one a part


def test_order_of_categories_changes_no_key() -> None:
    """Nor does a category that is added."""
    one = {r.run_id: r.key for r in plan_of(("a", "b"), scopes=["category", "unified"]).runs}
    two = {r.run_id: r.key for r in plan_of(("b", "a"), scopes=["category", "unified"]).runs}
    assert one == two
    alone = {r.run_id: r.key for r in plan_of(("a",)).runs}
    assert alone.items() <= one.items()


def test_repeats_use_other_seeds() -> None:
    """Repeat i draws another split and another projection."""
    plan = plan_of(("a",), repeats=3)
    assert len({run.fit[-1].key for run in plan.runs}) == 3
    assert len({run.train_part.digest for run in plan.runs}) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"split": {"seed": 1}},
        {"image": {"size": 128}},
        {"seed": 43},
        {"thresholds": {"objective": "normal_max"}},
        {"evaluation": {"size": 100}},
        {"methods": [{"method": "patchcore", "params": {"backbone": "resnet50"}}]},
        {"methods": [{"method": "patchcore", "params": {"backbone": "resnet18", "smoothing_sigma": 4}}]},
    ],
)
def test_what_matters_changes_the_key_of_a_run(change: dict[str, Any]) -> None:
    """Every setting that can change a figure is in the key."""
    assert plan_of(("a",)).runs[0].key != plan_of(("a",), **change).runs[0].key


def test_content_of_an_image_changes_the_keys() -> None:
    """A changed file makes its stages, and the runs that rest on them, new."""
    spec, known = spec_of(), inventory(("a", "b"))
    prints = dict(known.fingerprints) | {"a/test/good/000.png": Fingerprint("other", "", 64, 64)}
    before = make_plan(spec, known)
    after = make_plan(spec, Inventory(known.samples, prints, known.weights))
    changed = {a.category for a, b in zip(before.runs, after.runs, strict=True) if a.key != b.key}
    assert changed == {"a"}


def test_weights_are_known_by_their_content_not_their_place() -> None:
    """The same bytes under another path give the same runs, in the same average; other bytes give others."""
    known = inventory(("a", "b"))

    def runs(path: str, sha256: str) -> list[tuple[str, str, str]]:
        params = {"backbone": "resnet18", "weights": path}
        spec = spec_of(methods=[{"method": "patchcore", "params": params}])
        weights = {("resnet18", path, 42): sha256}
        plan = make_plan(spec, Inventory(known.samples, known.fingerprints, weights))
        return [(run.run_id, run.key, run.group) for run in plan.runs]

    assert runs("/here/a.pth", "one") == runs("/there/b.pth", "one")
    assert len({group for *_, group in runs("/here/a.pth", "one")}) == 1
    for ours, theirs in zip(runs("/here/a.pth", "one"), runs("/here/a.pth", "two"), strict=True):
        assert all(a != b for a, b in zip(ours, theirs, strict=True))


def test_renamed_defect_renews_the_record_and_no_stage() -> None:
    """No figure depends on the name of a defect's folder, but the record names it for every image."""
    spec = spec_of(split={"train_fraction": 1, "validation_defects": 0})
    known = inventory(("a",))
    renamed, prints = [], {}
    for sample in known.samples:
        name, defect = (text.replace("cut", "chip") for text in (sample.name, sample.defect))
        renamed.append(replace(sample, name=name, defect=defect))
        prints[renamed[-1].identity] = known.fingerprints[sample.identity]
    before, after = make_plan(spec, known), make_plan(spec, Inventory(renamed, prints, known.weights))
    assert set(before.stages) == set(after.stages)
    assert before.runs[0].run_id == after.runs[0].run_id
    assert before.runs[0].key != after.runs[0].key


def test_other_weights_of_any_choice_are_another_search(tmp_path: Path) -> None:
    """Trials made with the old bytes of one of the files do not count any more."""
    known = inventory(("a",))
    space = {"weights": {"choices": ["default", "/w/b.pth"]}, "neighbours": {"low": 2, "high": 9, "type": "int"}}
    spec = spec_of(methods=[{"method": "patchcore", "params": {"backbone": "resnet18"}, "tune": {"space": space}}])

    def fingerprint(sha256: str) -> Mapping[str, Any]:
        weights = {("resnet18", "default", 42): "one", ("resnet18", "/w/b.pth", 42): sha256}
        return search_of(spec, Inventory(known.samples, known.fingerprints, weights), tmp_path).fingerprint

    assert fingerprint("two") == fingerprint("two") != fingerprint("three")


def test_standard_split_has_no_threshold() -> None:
    """All of train/good and all of test: nothing to calibrate on."""
    (run,) = plan_of(("a",), split={"train_fraction": 1, "validation_defects": 0}).runs
    assert run.threshold is None
    assert run.validation is None
    assert len(run.train_part) == 20
    assert len(run.test.truth.part) == 24


def test_unified_pools_normals_and_calibrates_both_ways() -> None:
    """One model on all categories; its own threshold for each and one for all."""
    plan = plan_of(("a", "b"), scopes=["unified"], thresholds={"scope": "both"})
    assert len({run.fit[-1].key for run in plan.runs}) == 1
    assert all(len(run.train_part) == 32 for run in plan.runs)
    by_scope = {
        scope: {r.threshold.key for r in plan.runs if r.threshold and r.threshold_scope == scope}
        for scope in ("category", "global")
    }
    assert len(by_scope["category"]) == 2
    assert len(by_scope["global"]) == 1


def test_defects_too_few_to_calibrate_on_are_refused() -> None:
    """F1 on a validation part without anomalies is refused with what to do."""
    with pytest.raises(UserError, match="no anomalous image"):
        plan_of(("a",), split={"validation_defects": 0.01})


def test_fit_sees_train_parts_only_and_thresholds_validation_parts() -> None:
    """What each stage of every run may see, by type."""
    plan = plan_of(regimes=["clean", "full_adaptation"], scopes=["category", "unified"])
    for stage in plan.stages.values():
        if isinstance(stage, StepStage) and stage.step.part == "fit":
            assert type(stage.source.part) is TrainPart
            assert all(sample.label == 0 for sample in stage.source.part.samples)
    for run in plan.runs:
        assert run.threshold is not None
        assert {type(p) for p in run.threshold.parts} == {ValidationPart}
        assert type(run.test.truth.part) is TestPart


def test_wrong_part_is_refused_when_run() -> None:
    """The type is checked again at run time."""
    run = plan_of(("a",)).runs[0]
    with pytest.raises(StageMismatchError, match="TrainPart"):
        require(run.test.truth.part, TrainPart)


def test_inputs_come_before_what_needs_them() -> None:
    """The stages of a plan are in an order in which they can run."""
    seen: set[str] = set()
    for key, stage in plan_of(regimes=["clean", "threshold_only"]).stages.items():
        assert {s.key for s in stage.inputs} <= seen
        seen.add(key)


def test_a_stage_reads_the_parts_that_its_question_is_about() -> None:
    """Each kind, in a run with a method of features, an index that calibrates, a diagnosis, and a method of images."""
    patchcore = {"method": "patchcore", "params": {"backbone": "resnet18", "search": {"index": "ivf"}}}
    train, validation, test = {TrainPart}, {ValidationPart}, {TestPart}
    read: dict[str, set[type]] = {}
    spec = spec_of(methods=[patchcore, {"method": "floor"}], regimes=["clean"])
    stages = make_plan(spec, inventory(("a",), n_train=40)).stages.values()
    for stage in stages:
        read.setdefault(stage.kind, set()).update(type(part) for part in stage.parts)
        assert {type(part) for part in stage.parts} <= set(stage.takes)
    assert read == {
        "features": train | validation | test,
        "images": train | validation | test,
        "patchcore.coreset": train,
        "patchcore.index": validation,
        "patchcore.search": validation | test,
        "patchcore.scores": validation | test,
        "floor.mean_image": train,
        "floor.scores": validation | test,
        "threshold": validation,
        "truth": validation | test,
        "evaluation": validation | test,
        "segmentation": test,
        "diagnosis": validation,
    }
    n_results = {len(stage.parts[0]): len(stage.result_keys) for stage in stages if stage.kind == "features"}
    assert n_results == {32: 32, 14: 14, 18: 18}  # one an image
    assert {len(stage.result_keys) for stage in stages if stage.kind == "images"} == {0}
    assert {len(stage.result_keys) for stage in stages if stage.kind not in {"features", "images"}} == {1}


def short_sha256(text: str) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def test_golden_keys() -> None:
    """Keys are part of every workspace: a change here means that all artifacts are computed again.

    If it is meant, raise the version of the stage that changed and put the new keys here.
    """
    run = plan_of(("a",)).runs[0]
    features = next(s for s in run.stages() if isinstance(s, FeatureStage))
    assert run.run_id == "a-patchcore-4537a61c9c15"
    assert run.fit[-1].key == "2c47f60fc256b5d794f8f5d2a5e25aa8"
    # the identity of one image's features, spelled out
    source = short_sha256('["features",2,"resnet18","resnet18-default",{"crop":null,"size":224},"float32"]')
    first = features.part.fingerprints[0].sha256
    assert features.image_keys[0] == short_sha256(f'["{source}","{first}"]')


def test_keys_from_before_void_pixels_stay_where_nothing_moves() -> None:
    """Clean records, and those of a shift without geometry, have keys without void pixels in them; moved ones do not.

    All but the truth's contain version 3 of PatchCore's search, which came later.
    """
    still = {"shift": {"rotation_deg": None, "scale": None, "translation": None}}
    four = {"regimes": ["clean", "no_adaptation", "threshold_only", "full_adaptation"]}
    assert [run.key for run in plan_of(("a",), **four, **still).runs] == [
        "12b7bfca6a084a021b97dda629388817",
        "6abe8571d1107d39080213b4cec24774",
        "4e30de4caedaaad20efeacca20ef07a1",
        "ee99f7ff2f63f94e22f673093103c4f7",
    ]
    clean, *moved = plan_of(("a",), **four).runs
    assert (clean.test.key, clean.test.truth.key) == (
        "b46d8bf108b13188416b419baf47e8a1",
        "66ea1fba586a48faa505bbe56a41a101",
    )
    # thresholds are of image scores, which see every pixel
    assert [run.threshold.key for run in moved if run.threshold] == [
        "f65c827e091b1bca0de3897563fab33c",
        "207d90bbff9aa21a7eb5305ff45fc43d",
        "1a56aa354cbbaf172d9c43ec442ea3e0",
    ]
    assert {run.test.truth.key for run in moved}.isdisjoint({"30029caf4b4b36c4e122489d2f29d125"})


def test_which_metrics_are_asked_for_is_in_no_key() -> None:
    """A result that holds more serves as well; without pixel F1 nothing is segmented."""
    asked = plan_of(("a",), evaluation={"metrics": ["image_auroc", "pixel_aupro"]}).runs[0]
    every = plan_of(("a",)).runs[0]
    assert (asked.key, asked.test.key) == (every.key, every.test.key)
    assert every.segmentation is not None
    assert asked.segmentation is None
    assert every.segmentation.key in {stage.key for stage in every.stages()}


def test_plan_of_a_thousand_runs_is_quick_enough_to_be_pure() -> None:
    """1,000 runs need no more than 40 distinct coresets: planning works on values, not on data."""
    methods = grid(coreset_ratio=[i / 100 for i in range(1, 6)], neighbours=list(range(1, 26)))
    plan = plan_of(("a", "b"), methods=methods, regimes=["clean", "no_adaptation", "threshold_only", "full_adaptation"])
    assert len(plan.runs) == 1000
    assert Counter(s.kind for s in plan.stages.values())["patchcore.coreset"] == 4
