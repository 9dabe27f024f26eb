"""What a study costs before it starts: laws held to hand counts and to torch, rates to what was measured."""

from __future__ import annotations

import json
import math
from functools import partial
from itertools import pairwise, permutations, product
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from adloc.computing.store import Store
from adloc.cost.account import Account
from adloc.cost.estimate import Estimate, Line, estimate
from adloc.cost.hardware import Hardware
from adloc.cost.laws import distances
from adloc.cost.meter import Meter
from adloc.cost.networks import NETWORKS, SIDE, shape_of
from adloc.cost.outlook import Outlook
from adloc.cost.phases import trials
from adloc.cost.rates import Rates
from adloc.cost.searches import likely, n_best, n_distinct, tried
from adloc.cost.start import COMPUTING, DATABASE, LOADING, OF_METHODS, START, TRACKED, Start
from adloc.cost.typical import TYPICAL, typical_s
from adloc.cost.words import accounted
from adloc.cost.work import Work, work_of
from adloc.datasets.sample import Fingerprint, Sample
from adloc.datasets.transform import ImageConfig
from adloc.methods import METHODS
from adloc.planning.calibration import calibrations
from adloc.planning.inventory import Inventory
from adloc.planning.plan import Plan, make_plan
from adloc.planning.sources import FeatureStage
from adloc.planning.stage_maker import StageMaker
from adloc.planning.stages import StepStage
from adloc.study_file.spec import StudySpec
from adloc.tuning.state import search_states
from adloc.workspace import Workspace
from commandline import adloc
from handmade import Nowhere

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.stages import Stage
    from adloc.tuning.state import SearchState

HERE, GPU = Hardware("a CPU", 1), Hardware("a GPU", 1, on_gpu=True)
STUDY = """\
study: priced
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: [48, 64]}}
regimes: [clean]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, smoothing_sigma: 1}}
    grid: {{coreset_ratio: [0.1]}}
heatmaps: 0
models: none
explain: {{suspicious_images: 0, missed_defects: 0}}
"""


def inventory() -> Inventory:
    """One category of made-up images: 16 train, 28 validation and test."""
    names = [("train", "good", i) for i in range(20)]
    names += [("test", kind, i) for kind, n in (("good", 4), ("cut", 10), ("dent", 10)) for i in range(n)]
    samples = [Sample("a", f"{origin}/{kind}/{i}.png", origin, kind, Nowhere()) for origin, kind, i in names]
    prints = {s.identity: Fingerprint(f"sha-{s.identity}", f"mask-{s.identity}" * s.label, 100, 200) for s in samples}
    return Inventory(samples, prints, {("resnet18", "default", 42): "weights"})


def plan_of(*ratios: float, keep: str = "all") -> Plan:
    """PatchCore on a ResNet-18 at 224 px."""
    patchcore = {
        "method": "patchcore",
        "params": {"backbone": "resnet18", "layers": ["layer2", "layer3"], "reweight": "none"},
        "grid": {"coreset_ratio": list(ratios)},
    }
    study = {"study": "s", "dataset": {"kind": "textures"}, "methods": [patchcore], "features": {"keep": keep}}
    spec = StudySpec.model_validate(study)
    return make_plan(spec, inventory())


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    """The plan's stages of a kind."""
    return [stage for stage in plan.stages.values() if stage.kind == kind]


@pytest.mark.slow
def test_networks_do_what_torch_counts() -> None:
    """Channels, strides and multiply-adds of every network are those of a pass on torch's meta device."""
    import timm
    import torch
    import torchvision
    from torch.utils.flop_counter import FlopCounterMode

    from adloc.methods.backbone import BACKBONES
    from adloc.methods.network import FeatureExtractor

    assert NETWORKS.keys() == BACKBONES.keys()
    for name, layers in NETWORKS.items():
        backbone = BACKBONES[name]
        with torch.device("meta"):
            network = (
                timm.create_model("tf_efficientnet_lite0", pretrained=False)
                if backbone.source == "timm"
                else torchvision.models.get_model(name, weights=None)
            )
        counted = ("resnet18", "efficientnet_lite0")  # of the others the whole pass alone: each takes its time
        for n_layers in (4, 3, 2, 1) if name in counted else (4,):
            wanted = list(layers)[:n_layers]
            extractor = FeatureExtractor(network, backbone, wanted, torch.device("meta"))
            with FlopCounterMode(display=False) as counter:
                found = extractor(torch.empty(1, 3, SIDE, SIDE, device="meta"))
            shapes = [(layer.channels, SIDE // layer.stride, SIDE // layer.stride) for layer in layers.values()]
            assert [tuple(maps.shape[1:]) for maps in found.values()] == shapes[:n_layers], name
            assert counter.get_total_flops() / 2e9 == pytest.approx(layers[wanted[-1]].gmacs, abs=1e-3), name


def test_tiles_and_crops_are_counted() -> None:
    """Four tiles without overlap pass four times; a crop passes as what is kept."""
    whole = shape_of("resnet18", ["layer2", "layer3"], ImageConfig(size=224))
    tiled = ImageConfig.model_validate({"size": 224, "tiles": {"rows": 2, "columns": 2, "overlap": 0}})
    cropped = shape_of("resnet18", ["layer2", "layer3"], ImageConfig(size=448, crop=224))
    four = shape_of("resnet18", ["layer2", "layer3"], tiled)
    assert whole is not None
    assert four is not None
    assert (whole.patches, whole.channels, whole.values) == (28 * 28, 384, 128 * 28 * 28 + 256 * 14 * 14)
    assert (four.patches, four.gmacs) == (4 * whole.patches, pytest.approx(4 * whole.gmacs))
    assert cropped == whole


def test_a_network_of_ones_own_has_no_shape() -> None:
    """Nothing is guessed of it."""
    assert shape_of("package.module:function", ["layer2"], ImageConfig()) is None
    assert shape_of("resnet18", ["conv1"], ImageConfig()) is None


def test_a_coreset_costs_its_distances_and_its_averages() -> None:
    """16 training images of 784 patches, 126 picks (1 %), on 128 projected dimensions; then averaging 3 x 3 of 384."""
    plan = plan_of(0.01)
    (stage,) = of_kind(plan, "patchcore.coreset")
    patches, picks = 16 * 784, 126
    work = work_of(stage, plan)
    assert work.amount == pytest.approx((distances(patches, picks) * 128 + patches * 384 * 9) / 1e9)
    assert work.kept_bytes == picks * 384 * 4


# Processor seconds of one thread at 1, 5 and 10 %, by patches: of two categories whose patches lie far from alike.
MEASURED = {
    20_000: ((0.39, 0.68, 0.92), (0.35, 0.39, 0.85)),  # bottle, brick
    60_000: ((1.5, 2.7, 3.5), (1.4, 3.4, 4.6)),
    156_800: ((2.8, 8.0, 11.0), (5.5, 17.5, 29.6)),
}


def test_a_coreset_is_planned_within_twice_what_it_takes() -> None:
    """At a speed of 28e9 multiply-adds a second, which is that of the machine of the typical figures."""
    for patches, of_categories in MEASURED.items():
        for share, *measured in zip((0.01, 0.05, 0.1), *of_categories, strict=True):
            planned = TYPICAL["patchcore.coreset"].gmacs * distances(patches, share * patches) * 128 / 28e9
            assert all(seconds / 2 < planned < 2 * seconds for seconds in measured), (patches, share)


def test_a_search_costs_what_it_adds_to_the_next_smaller_bank() -> None:
    """At 1, 5 and 20 % together as much as at 20 % alone."""
    alone, together = plan_of(0.2), plan_of(0.01, 0.05, 0.2)
    whole = sum(work_of(stage, alone).amount for stage in of_kind(alone, "patchcore.search"))
    parts = [work_of(stage, together).amount for stage in of_kind(together, "patchcore.search")]
    assert len(parts) == 6  # of the validation and of the test part
    assert sum(parts) == pytest.approx(whole)


def test_rates_are_those_that_were_measured(tmp_path: Path) -> None:
    """Twice the work takes twice the time; older figures of as much work count for half; other machines for nothing."""
    workspace, work = Workspace(tmp_path), Work("a.step", "settings", 10.0)
    for seconds in (4.0, 1.0):
        rates = Rates.read(workspace)
        rates.learn(work, HERE, seconds, kept_bytes=100.0)
        rates.save(workspace)
    known = Rates.read(workspace)
    found = known.expect(Work("a.step", "settings", 20.0), HERE)
    assert (found.basis, found.seconds, found.kept_bytes) == ("measured", pytest.approx(2 * (2 + 1) / 1.5), 200.0)
    alike = known.expect(Work("a.step", "other settings", 10.0), HERE)
    assert (alike.basis, alike.seconds) == ("alike", pytest.approx(2.0))
    assert known.expect(Work("a.step", "other settings", 10.0, is_own=True), HERE).basis == "unknown"
    assert known.expect(work, Hardware("another CPU", 1)).basis == "unknown"
    bases = [
        known.expect(Work(kind, "", 1.0), hardware).basis for kind in ("features", "truth") for hardware in (HERE, GPU)
    ]
    assert bases == ["typical", "unknown", "typical", "typical"]  # nothing is typical of a GPU


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "rates": {"a": 3}}', '{"format": 99}'])
def test_rates_that_cannot_be_read_are_none(tmp_path: Path, text: str) -> None:
    """A plan is made all the same, and what is learned next is kept."""
    (tmp_path / "rates.json").write_text(text)
    rates, work = Rates.read(Workspace(tmp_path)), Work("a.step", "", 1.0)
    assert rates.expect(work, HERE).basis == "unknown"
    rates.learn(work, HERE, 1.0)
    rates.save(Workspace(tmp_path))
    assert Rates.read(Workspace(tmp_path)).expect(work, HERE).seconds == 1.0


def test_what_is_there_costs_nothing(tmp_path: Path) -> None:
    """A step that is kept is not done again, nor what it was made from; one that reaches too short is."""
    from adloc.methods.detector import Result

    workspace, plan = Workspace(tmp_path), plan_of(0.01, 0.1)
    (coreset,) = of_kind(plan, "patchcore.coreset")
    todo = {line.kind: line for line in estimate(plan, plan.runs, workspace, HERE).stages}
    assert (todo["features"].n_todo, todo["patchcore.coreset"].n_todo) == (20 + 24, 1)
    Store(workspace.store_path).put(coreset.kind, coreset.key, Result({}, {"extent": 0.05}))
    assert {e.kind: e.n_todo for e in estimate(plan, plan.runs, workspace, HERE).stages}["patchcore.coreset"] == 1
    Store(workspace.store_path).put(coreset.kind, coreset.key, Result({}, {"extent": 0.1}))
    after = {line.kind: line for line in estimate(plan, plan.runs, workspace, HERE).stages}
    assert (after["patchcore.coreset"].n_todo, after["patchcore.coreset"].n_there) == (0, 1)
    assert not estimate(plan, [], workspace, HERE).lines


def test_features_are_counted_once_an_image(tmp_path: Path) -> None:
    """Those that the store has are there; those that lack a layer are to be done again."""
    import numpy as np

    from adloc.methods.detector import Result

    workspace, plan = Workspace(tmp_path), plan_of(0.1)
    store = Store(workspace.store_path)
    train = next(s for s in of_kind(plan, "features") if isinstance(s, FeatureStage) and len(s.part) == 16)
    layer = np.zeros(3, np.float32)
    for arrays, n_there in (({"layer2": layer}, 0), ({"layer2": layer, "layer3": layer}, 16)):
        for key in train.image_keys:
            store.put("features", key, Result(arrays))
        line = estimate(plan, plan.runs, workspace, HERE).stages[0]
        assert (line.kind, line.n_there, line.n_todo) == ("features", n_there, 44 - n_there)
        assert line.disk_bytes == (44 - n_there) * 4 * (128 * 28 * 28 + 256 * 14 * 14)


def test_features_that_are_not_kept_pass_for_every_step(tmp_path: Path) -> None:
    """A coreset reads the training images twice, a search its part once; nothing of them is left on the disk."""
    plans = {keep: plan_of(0.1, keep=keep) for keep in ("all", "none")}
    lines = {
        keep: {line.kind: line for line in estimate(plan, plan.runs, Workspace(tmp_path), HERE).stages}
        for keep, plan in plans.items()
    }
    image_s = (lines["all"]["features"].seconds or 0.0) / 44
    assert "features" not in lines["none"]
    for kind, n_passes in (("patchcore.coreset", 2 * 16), ("patchcore.search", 28), ("patchcore.scores", 0)):
        more = (lines["none"][kind].seconds or 0.0) - (lines["all"][kind].seconds or 0.0)
        assert more == pytest.approx(n_passes * image_s), kind


def search_study() -> StudySpec:
    """Three trials of a ratio from 1 to 4 %, 3 to 9 neighbours and two neighbourhoods of a patch."""
    space = {
        "coreset_ratio": {"low": 0.01, "high": 0.04, "log": True},
        "neighbours": {"low": 3, "high": 9, "type": "int"},
        "patch_size": {"choices": [1, 3]},
    }
    entry = {"method": "patchcore", "params": {"backbone": "resnet18", "reweight": "none"}, "tune": {"space": space}}
    study = {"study": "s", "dataset": {"kind": "textures"}, "methods": [entry], "tuning": {"trials": 3}}
    return StudySpec.model_validate(study)


@pytest.fixture
def search(tmp_path: Path) -> SearchState:
    """The search of that study, of which no trial was made."""
    spec, known = search_study(), inventory()
    maker = StageMaker(spec, known.weights)
    (state,) = search_states(spec, ["a"], partial(calibrations, spec, known), maker, tmp_path)
    return state


def test_trials_compute_the_middle_of_their_space_as_often_as_it_varies(search: SearchState) -> None:
    """Features once, a coreset for each neighbourhood to the largest ratio, a search a trial at the middle ratio."""
    found = {stage.kind: (stage, times) for stage, times in tried(search, 3).items() if isinstance(stage, StepStage)}
    coreset, n_coresets = found["patchcore.coreset"]
    nearest, n_searches = found["patchcore.search"]
    both = [len(set(taken)) for taken in product((1, 3), repeat=3)]  # neighbourhoods that three trials have
    assert (n_coresets, coreset.extent) == (pytest.approx(sum(both) / len(both)), 0.04)
    assert (n_searches, nearest.extent) == (3.0, 9.0)
    assert getattr(nearest.params, "coreset_ratio", None) == pytest.approx(0.02)  # the root of .01 times .04
    assert {times for stage, times in tried(search, 3).items() if isinstance(stage, FeatureStage)} == {1.0}


@pytest.mark.parametrize(("n_trials", "n_settings"), [(4, 3), (3, 1), (1, 5), (6, 2)])
def test_trials_have_as_many_settings_as_in_all_draws(n_trials: int, n_settings: int) -> None:
    """The mean over every draw, counted one by one; of settings that never come again, one a trial."""
    counts = [len(set(drawn)) for drawn in product(range(n_settings), repeat=n_trials)]
    assert n_distinct(n_trials, n_settings) == pytest.approx(sum(counts) / len(counts))
    assert n_distinct(n_trials, math.inf) == n_trials == pytest.approx(n_distinct(n_trials, 1e18))
    assert n_distinct(0, n_settings) == 0


@pytest.mark.parametrize(("n_trials", "n_objectives"), [(4, 2), (3, 3), (5, 1)])
def test_as_many_settings_are_likely_to_be_best_as_in_all_orders(n_trials: int, n_objectives: int) -> None:
    """The mean over every order of the trials in every objective, counted one by one."""
    orders = list(permutations(range(n_trials)))
    counts = []
    for others in product(orders, repeat=n_objectives - 1):
        trials_ = list(zip(range(n_trials), *others, strict=True))
        beaten = [any(a != b and all(x > y for x, y in zip(b, a, strict=True)) for b in trials_) for a in trials_]
        counts.append(n_trials - sum(beaten))
    assert n_best(n_trials, n_objectives) == pytest.approx(sum(counts) / len(counts))


def test_a_search_is_planned_with_what_it_may_find(search: SearchState) -> None:
    """One objective: one setting beside the default, in the middle of the space."""
    (winner,) = likely(search)
    assert winner.values == {"coreset_ratio": pytest.approx(0.02), "neighbours": 6, "patch_size": 3}
    assert [run.variant.setting for run in make_plan(search_study(), inventory(), [winner]).runs] == [
        "default",
        "likely_0",
    ]


def test_trials_cost_what_those_before_them_did(tmp_path: Path, search: SearchState) -> None:
    """Of a search that begins the laws tell; then, whatever another study's took, three times the mean of two."""
    workspace, plan = Workspace(tmp_path), plan_of(0.1)
    (line,) = estimate(plan, [], workspace, HERE, searches=[search]).stages
    assert (line.kind, line.n_todo, line.basis) == ("trials", 3, "typical")
    assert line.seconds
    rates = Rates.read(workspace)
    for study, seconds in (("s", 2.0), ("s", 4.0), ("another", 100.0)):
        rates.learn(trials(study, 1), HERE, seconds)
    rates.save(workspace)
    assert estimate(plan, [], workspace, HERE, searches=[search]).seconds == pytest.approx(9.0)


def test_stages_that_are_alike_are_priced_as_each_alone(tmp_path: Path) -> None:
    """What 40 runs take by kind is the sum over their stages, and every one of them is expected to take its share."""
    workspace, plan = Workspace(tmp_path), plan_of(*(n / 100 for n in range(1, 41)))
    rates = Rates.read(workspace)
    found = estimate(plan, plan.runs, workspace, HERE, rates)
    lines = {line.kind: line for line in found.stages}
    for kind in ("evaluation", "segmentation", "threshold", "patchcore.search", "truth"):
        seconds = {stage.key: rates.expect(work_of(stage, plan), HERE).seconds for stage in of_kind(plan, kind)}
        assert lines[kind].n_todo == len(seconds)
        assert lines[kind].seconds == pytest.approx(sum(each or 0.0 for each in seconds.values()))
        assert {key: found.by_stage[key] for key in seconds} == pytest.approx(seconds)


def test_more_threads_help_with_products_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads take 1 / 1.85 of the time of a search; figures, which one thread counts, take what they took."""
    monkeypatch.setattr("adloc.cost.typical.products", lambda: 10.0)
    monkeypatch.setattr("adloc.cost.typical.rounds", lambda: 100.0)
    for kind, times in (("patchcore.search", 1.85), ("evaluation", 1.0), (START, 1.0)):
        one, two = (typical_s(Work(kind, "", 7.0), Hardware("a CPU", n)) for n in (1, 2))
        assert one
        assert two
        assert one / two == pytest.approx(times), kind
    assert typical_s(Work(START, "", 7.0), HERE) == pytest.approx(7.0 * TYPICAL[START].rounds / 100.0)


def test_a_start_takes_what_is_still_to_be_imported_and_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries once, more where they are not compiled yet; the database in a new workspace alone; Ray's workers."""
    workspace, old = Workspace(tmp_path / "new"), Workspace(tmp_path)
    old.tracking_path.touch()
    compiled, first = (sum(getattr(each, which) for each in (*COMPUTING, TRACKED)) for which in ("compiled", "first"))
    python = SimpleNamespace(modules={}, dont_write_bytecode=True)
    monkeypatch.setattr("adloc.cost.start.sys", python)
    amounts = []
    for is_compiled in (True, False):
        monkeypatch.setattr("adloc.cost.start._is_compiled", lambda _, known=is_compiled: known)
        amounts.append(Start.now(old, "local").work([]).amount)
    assert amounts == pytest.approx([LOADING + compiled, LOADING + first])
    assert Start.now(workspace, "local").work([]).amount - Start.now(old, "local").work([]).amount == pytest.approx(
        DATABASE
    )
    local, ray = (Start.now(old, executor).work([]).amount for executor in ("local", "ray"))
    assert ray > local + 2 * sum(each.first for each in COMPUTING)
    (anomalib,) = OF_METHODS
    padim, patchcore = METHODS["padim"], METHODS["patchcore"]
    begun = Start.now(old, "local")
    assert begun.work([padim, patchcore]).amount - begun.work([patchcore]).amount == pytest.approx(anomalib.first)
    python.modules |= {each.name: None for each in (*COMPUTING, TRACKED, anomalib)}
    assert Start.now(old, "local").work([padim]).amount == pytest.approx(LOADING)
    assert begun.work([padim]).amount > LOADING + anomalib.first  # as it was when the study began


def test_what_workers_keep_is_counted_wherever_their_disk_is(tmp_path: Path) -> None:
    """The bytes of a step are those that its worker told of; this machine's store has none of them."""
    plan = plan_of(0.1)
    (coreset,) = of_kind(plan, "patchcore.coreset")
    helper = SimpleNamespace(kept_bytes={coreset.key: 1234}, peak_bytes=5)
    computes = SimpleNamespace(name="ray", executor=SimpleNamespace(helper=helper, hardware=HERE))
    meter = Meter(cast("Any", Deaf()), Workspace(tmp_path), cast("Any", computes))
    meter.study_started(plan, plan.runs)
    meter.stage_done(coreset, 1.0, 0)
    with meter:
        pass
    known = Rates.read(Workspace(tmp_path)).expect(work_of(coreset, plan), HERE)
    assert (known.basis, known.kept_bytes) == ("measured", 1234.0)


def test_a_store_counts_what_is_put_through_it(tmp_path: Path) -> None:
    """The bytes of its files, of every one that was written."""
    import numpy as np

    from adloc.methods.detector import Result

    store = Store(tmp_path)
    for key, n in (("one", 10), ("two", 1000)):
        store.put("kind", key, Result({"values": np.zeros(n)}))
    assert store.put_bytes == sum(entry.n_bytes for entry in store.entries())
    assert Store(tmp_path).put_bytes == 0


def expected(hardware: Hardware = HERE, **seconds: float) -> Outlook:
    """An outlook on one stage of each kind, with a clock that stands at `now[0]`."""
    lines = tuple(Line(kind, n_todo=1, seconds=each) for kind, each in seconds.items() if kind != "report")
    phases = (Line("report", n_todo=1, seconds=seconds.get("report", 0.0)),)
    by_stage = {line.kind: line.seconds or 0.0 for line in lines}
    return Outlook(Estimate(hardware, lines, phases, by_stage), clock=lambda: NOW[0])


NOW = [0.0]


def stage(kind: str) -> Stage:
    """A stage, as far as an outlook looks at it."""
    return cast("Stage", SimpleNamespace(kind=kind, key=kind))


def test_what_is_left_counts_down_and_is_corrected() -> None:
    """It falls by the clock, by no more than what is under way; then the pace so far holds for the rest."""
    NOW[0] = 100.0
    outlook = expected(fit=10.0, score=20.0, report=30.0)
    assert outlook.left_s == 60.0
    outlook.stage_started(stage("fit"))
    NOW[0] += 4.0
    assert outlook.left_s == 56.0
    NOW[0] += 1.0
    outlook.stage_progress(stage("fit"), 0.5)
    assert outlook.left_s == 55.0
    outlook.stage_done(stage("fit"), 20.0)  # it took twice as long as expected
    assert outlook.left_s == 2 * (20.0 + 30.0)
    outlook.stage_started(stage("score"))
    NOW[0] += 1000.0  # it is late: what comes after it is still to be done
    assert outlook.left_s == 2 * 30.0
    outlook.stage_done(stage("score"), 40.0)
    outlook.phase_started("report", 1.0)
    NOW[0] += 1000.0
    assert outlook.left_s == 0.0
    outlook.phase_done("report", 1.0, 30.0)
    assert outlook.left_s == 0.0


@pytest.mark.parametrize("times", [0.5, 1.0, 3.0])
def test_what_is_left_does_not_grow_while_it_runs(times: float) -> None:
    """Of a study that is slower than expected it is corrected once, when that is first seen, and falls from then on."""
    NOW[0] = 0.0
    each = {f"stage{n}": 10.0 for n in range(20)}
    lines = (Line("fit", n_todo=20, seconds=200.0),)
    outlook = Outlook(Estimate(HERE, lines, (), each), clock=lambda: NOW[0])
    left = [outlook.left_s]
    for key in each:
        under = cast("Stage", SimpleNamespace(kind="fit", key=key))
        outlook.stage_started(under)
        for _ in range(10):
            NOW[0] += times
            left.append(outlook.left_s)
        outlook.stage_done(under, 10.0 * times)
        left.append(outlook.left_s)
        seen = left[12:]  # of the first stage nothing is known before it is done
        assert all(after <= before + 1e-9 for before, after in pairwise(seen))
    assert left[11] == pytest.approx(19 * 10.0 * times)
    assert left[-1] == pytest.approx(0.0)


def test_stages_share_the_workers_of_a_cluster() -> None:
    """Four at a time take a quarter of the time, never less than the longest; the driver's work is its own."""
    hardware = Hardware("a CPU", 1, n_tasks=4, executor="ray")
    assert expected(hardware, a=8.0, b=8.0, c=8.0, d=8.0, report=5.0).estimate.seconds == 8.0 + 5.0
    assert expected(hardware, a=20.0, b=4.0, report=5.0).estimate.seconds == 20.0 + 5.0


def test_an_account_says_what_was_furthest_off(tmp_path: Path) -> None:
    """Only where the whole was off; and it is read as it was written."""
    near = Account.of(expected(fit=10.0, report=10.0).estimate, {"fit": 25.0, "report": 2.0}, 27.0, 5e6, 1e9)
    far = Account.of(expected(fit=10.0, report=10.0).estimate, {"fit": 50.0, "report": 11.0}, 61.0, 5e6, 1e9)
    assert near.furthest is None
    assert far.furthest == "fit, 50 s of 10 s planned"
    assert accounted(far).startswith("took 61 s of 20 s planned, 5 MB of disk of 0 MB planned, 1.0 GB of memory;")
    far.write(tmp_path)
    assert Account.read(tmp_path) == far
    assert Account.read(tmp_path / "nothing") is None


class Deaf:
    """A reporter that says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_rates_that_cannot_be_kept_end_no_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C stays Ctrl-C, and a full disk is nobody's failure; a bug in a study that came to its end is one."""

    def broken(error: Exception) -> Meter:
        meter = Meter(cast("Any", Deaf()), Workspace(tmp_path), cast("Any", None))
        monkeypatch.setattr(meter, "finish", lambda: (_ for _ in ()).throw(error))
        return meter

    with pytest.raises(KeyboardInterrupt), broken(RuntimeError("no cluster")):
        raise KeyboardInterrupt
    with broken(OSError("no space left")):
        pass
    with pytest.raises(RuntimeError, match="a bug"), broken(RuntimeError("a bug")):
        pass


def test_progress_is_published_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty stages of 3 s give a figure every 10 s and more, numbered from 1; a new phase gives one at once."""
    clock, published = [1000.0], []
    monkeypatch.setattr(
        "adloc.cost.meter.time", SimpleNamespace(monotonic=lambda: clock[0], perf_counter=lambda: 0.0, time=lambda: 0.0)
    )
    meter = Meter(cast("Any", Deaf()), Workspace(tmp_path), cast("Any", None))
    meter.publish(lambda step, figures: published.append((clock[0], step, dict(figures))))
    for _ in range(20):
        meter.stage_done(stage("fit"), 3.0, 30)
        clock[0] += 3.0
    assert [(at, step) for at, step, _ in published] == [(1000.0 + 12.0 * n, n + 1) for n in range(5)]
    meter.phase_started("report")
    assert published[-1][1:] == (
        6,
        {
            "progress/runs_done": 0.0,
            "progress/runs_failed": 0.0,
            "progress/stages_done": 20.0,
            "progress/images_per_s": 10.0,
        },
    )


@pytest.mark.slow
def test_a_study_is_priced_run_and_accounted(mvtec_tree: Path, tmp_path: Path) -> None:
    """The first plan goes by typical figures and meets the disk; an extended study goes by what was measured."""
    file, workspace = tmp_path / "priced.yaml", tmp_path / "workspace"
    file.write_text(STUDY.format(root=mvtec_tree))
    where = (file, "--workspace", workspace, "--json")
    first = json.loads(adloc("study", "plan", *where).stdout)["cost"]
    assert {line["basis"] for line in first["by_kind"]} == {"typical"}
    account = json.loads(adloc("study", "run", *where).stdout)["cost"]
    assert account["seconds"]["planned"] == pytest.approx(first["seconds"], rel=0.5)  # the machine's speed, twice
    features = Store(workspace / "store")
    n_bytes = sum(entry.n_bytes for entry in features.entries() if entry.kind == "features")
    planned = next(line["disk_bytes"] for line in first["by_kind"] if line["kind"] == "features")
    assert planned == pytest.approx(n_bytes, rel=0.1)  # the head of each file
    assert json.loads(adloc("study", "status", *where).stdout)["cost"] == account
    assert json.loads(adloc("study", "plan", *where).stdout)["cost"]["by_kind"] == []
    more = adloc("study", "plan", *where, "--set", "methods[0].grid.coreset_ratio=[0.1,0.2]")
    lines = {line["kind"]: line for line in json.loads(more.stdout)["cost"]["by_kind"]}
    assert (lines["features"]["todo"], lines["patchcore.coreset"]["todo"]) == (0, 1)
    assert lines["patchcore.coreset"]["basis"] == lines["evaluation"]["basis"] == "measured"
