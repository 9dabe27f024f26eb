"""What a study takes of memory and disk: held to counts by hand, and to what is in folders and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from adloc.cost.estimate import estimate
from adloc.cost.hardware import Hardware
from adloc.cost.meter import Meter
from adloc.cost.models import models_of
from adloc.cost.phases import EXPLAIN, MODELS, RECORDS, REPORT, TRACKING, TRIALS
from adloc.cost.rates import NAME, Rates
from adloc.cost.start import (
    COMPUTING,
    INTERPRETER,
    NETWORKS,
    OF_METHODS,
    RAY,
    START,
    TRACKED,
    USED,
    Start,
    worker_bytes,
)
from adloc.cost.work import Work, work_of
from adloc.cost.written import written
from adloc.datasets.sample import Fingerprint, Sample
from adloc.methods import METHODS
from adloc.planning.inventory import Inventory
from adloc.planning.plan import Plan, make_plan
from adloc.record.files import write_checked
from adloc.study_file.spec import StudySpec
from adloc.workspace import Workspace
from handmade import Nowhere

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.stages import Stage

HERE = Hardware("a CPU", 1)
PADIM, PATCHCORE = METHODS["padim"], METHODS["patchcore"]


def inventory(n_times: int = 1) -> Inventory:
    """Categories a and b, each of 20 train/good images and 24 test images of 100 x 200, so many times."""
    names = [("train", "good", i) for i in range(20 * n_times)]
    names += [("test", kind, i) for kind, n in (("good", 4), ("cut", 20)) for i in range(n * n_times)]
    samples = [
        Sample(category, f"{origin}/{kind}/{i}.png", origin, kind, Nowhere())
        for category in ("a", "b")
        for origin, kind, i in names
    ]
    prints = {s.identity: Fingerprint(f"sha-{s.identity}", f"mask-{s.identity}" * s.label, 100, 200) for s in samples}
    return Inventory(samples, prints, {("resnet18", "default", 42): "weights"})


def plan_of(n_times: int = 1, **study: Any) -> Plan:
    """PaDiM on the three layers of a ResNet-18 at 224 px, 100 of their 448 values a patch."""
    padim = {"method": "padim", "params": {"backbone": "resnet18", "n_features": 100}}
    asked = {"study": "s", "dataset": {"kind": "textures"}, "methods": [padim]} | study
    return make_plan(StudySpec.model_validate(asked), inventory(n_times))


def of_kind(plan: Plan, kind: str) -> list[Stage]:
    """The plan's stages of a kind."""
    return [stage for stage in plan.stages.values() if stage.kind == kind]


def test_a_process_holds_what_it_imports(tmp_path: Path) -> None:
    """Libraries of computing and tracking, a method's own where it is asked for; a worker tracks nothing."""
    workspace, (anomalib,) = Workspace(tmp_path), OF_METHODS
    local, ray = (Start.now(workspace, executor) for executor in ("local", "ray"))
    common = INTERPRETER + NETWORKS + sum(each.n_bytes for each in (*COMPUTING, TRACKED))
    assert local.work([PATCHCORE]).held_bytes == common
    assert local.work([PATCHCORE, PADIM]).held_bytes == common + anomalib.n_bytes
    assert ray.work([PATCHCORE, PADIM]).held_bytes == common + RAY  # its workers import what computes
    assert worker_bytes([PADIM]) == common + RAY + anomalib.n_bytes - TRACKED.n_bytes


@pytest.mark.slow
def test_libraries_take_the_memory_that_is_planned() -> None:
    """A new process that imports them is within a quarter of what a first plan says."""
    import torch

    if torch.version.cuda is None:
        pytest.skip("the figures are of torch with CUDA")
    names = [each.name for each in (*COMPUTING, TRACKED)] + ["anomalib.models"]
    # Not ru_maxrss, in which the peak of the process that began it stands too.
    told = "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    code = f"import {', '.join(names)}; {told}"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    planned = sum(each.n_bytes for each in (*COMPUTING, TRACKED, *OF_METHODS))
    assert 1024 * int(done.stdout.split()[-1]) == pytest.approx(planned, rel=0.25)


def test_the_largest_stage_is_planned_beside_the_process(tmp_path: Path) -> None:
    """PaDiM's fit: 3,136 matrices of 100 x 100 and means, 16 images' 100 values there, and their features as read."""
    plan = plan_of()
    (fit, _) = of_kind(plan, "padim.gaussian")
    model, values = 3136 * (100 * 100 + 100) * 4, 3136 * 16 * 100 * 4
    features = 16 * 4 * (64 * 56 * 56 + 128 * 28 * 28 + 256 * 14 * 14)
    assert work_of(fit, plan).held_bytes == model + values + features
    begin = Start.now(Workspace(tmp_path), "local")
    lines = {line.kind: line for line in estimate(plan, plan.runs, Workspace(tmp_path), HERE).lines}
    process = begin.work([PADIM]).held_bytes or 0.0
    assert lines[START].memory_bytes == process
    assert lines["padim.gaussian"].memory_bytes == process + USED + model + values + features
    assert lines[MODELS].memory_bytes == process + USED + 2 * model  # the store's, and those that are checked


def test_a_measured_process_takes_the_place_of_a_typical_one(tmp_path: Path) -> None:
    """One that held 300 MB at its start is planned with these, whatever libraries hold elsewhere."""
    workspace, plan = Workspace(tmp_path), plan_of()
    start = Start.now(workspace, "local").work([PADIM])
    rates = Rates.read(workspace)
    rates.learn(start, HERE, 1.0, peak_bytes=300e6)
    rates.save(workspace)
    (fit, _) = of_kind(plan, "padim.gaussian")
    lines = {line.kind: line for line in estimate(plan, plan.runs, workspace, HERE).lines}
    assert lines["padim.gaussian"].memory_bytes == pytest.approx(300e6 + USED + (work_of(fit, plan).held_bytes or 0.0))
    ray = Hardware("a CPU", 1, n_tasks=2, executor="ray")
    lines = {line.kind: line for line in estimate(plan, plan.runs, workspace, ray).lines}
    assert lines["padim.gaussian"].memory_bytes == worker_bytes([PADIM]) + USED + (work_of(fit, plan).held_bytes or 0.0)


def test_a_measured_peak_moves_with_the_arrays_of_the_work(tmp_path: Path) -> None:
    """2 GB with arrays of 500 MB are 1.6 GB with 100 MB; where no law tells of arrays, 2 GB stay."""
    workspace = Workspace(tmp_path)
    rates = Rates.read(workspace)
    rates.learn(Work("a.fit", "", 10.0, held_bytes=500e6), HERE, 1.0, peak_bytes=2e9)
    rates.learn(Work("b.fit", "", 10.0), HERE, 1.0, peak_bytes=2e9)
    rates.save(workspace)
    known = Rates.read(workspace)
    assert known.expect(Work("a.fit", "", 2.0, held_bytes=100e6), HERE).peak_bytes == 1.6e9
    assert known.expect(Work("b.fit", "", 2.0), HERE).peak_bytes == 2e9
    later = Rates.read(workspace)
    later.learn(Work("a.fit", "", 2.0, held_bytes=100e6), HERE, 1.0, peak_bytes=1.5e9)
    later.save(workspace)  # a lower peak takes nothing from a higher one
    assert Rates.read(workspace).expect(Work("a.fit", "", 2.0, held_bytes=100e6), HERE).peak_bytes == 1.6e9


def test_the_memory_of_metrics_grows_with_masks_not_with_maps() -> None:
    """Of a hundred times the images 64 MB of maps are made at a time and held twice, beside 5 bytes a pixel of all."""
    held = {}
    for n_times in (1, 100):
        plan = plan_of(n_times)
        stage = max(of_kind(plan, "evaluation"), key=lambda each: len(cast("Any", each).truth.part))
        held[n_times] = work_of(stage, plan).held_bytes or 0.0, len(cast("Any", stage).truth.part)
    pixels = 224 * 224
    few, many = held.values()
    assert few[0] == few[1] * pixels * (2 * 4 + 5)
    assert many[0] == 2 * 64e6 + many[1] * pixels * 5


@pytest.mark.parametrize(("wanted", "n"), [("best", 2 * 3), ("all", 2 * 3), ("none", 0)])
def test_a_model_is_left_for_each_scope_and_kind_of_threshold(wanted: str, n: int, tmp_path: Path) -> None:
    """Two categories: their own models, and two rows of one for both, with thresholds of their own and one for all."""
    plan = plan_of(scopes=["category", "unified"], thresholds={"scope": "both"}, regimes=["clean"], models=wanted)
    models = models_of(plan, plan.spec.models)
    model = 3136 * (100 * 100 + 100) * 4
    assert (models.n, models.n_bytes, models.largest) == (n, n * model, model if n else 0.0)
    assert models.n_trained == (2 * 16 + 4 * 32 if n else 0)
    lines = {line.kind: line for line in estimate(plan, plan.runs, Workspace(tmp_path), HERE).phases}
    assert lines[MODELS].disk_bytes == n * model if n else MODELS not in lines


def test_what_a_study_writes_is_counted_by_who_writes_it(tmp_path: Path) -> None:
    """Files in new folders and replaced ones, not what was there before, nor another study's."""
    workspace = Workspace(tmp_path)
    folder, artifacts = workspace.study_path("s"), workspace.artifacts_path / "s"
    sizes = {
        folder / "records/new/heatmaps/0.png": 10,
        folder / "records/old/record.json": 100,
        folder / "explained/new/missed.png": 20,
        folder / "report.html": 30,
        artifacts / "models/m-1/artifacts/arrays.safetensors": 40,
        artifacts / "run/artifacts/heatmaps/0.png": 50,
        workspace.study_path("another") / "report.html": 1000,
    }
    for path, n_bytes in sizes.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * n_bytes)
    for path in (folder / "records/old/record.json", folder / "records/old"):
        os.utime(path, (1000.0, 1000.0))
    assert written(workspace, "s", 2000.0) == {RECORDS: 10, EXPLAIN: 20, REPORT: 30, MODELS: 40, TRACKING: 50}
    assert not any(written(workspace, "nothing", 2000.0).values())


def test_rates_of_an_earlier_version_are_kept_where_they_were_right(tmp_path: Path) -> None:
    """Those of stages hold; phases whose disk was taken for nothing, and features by another law, are learned anew."""
    workspace, kinds = Workspace(tmp_path), {"a.fit": "", RECORDS: "8 heatmaps", "features": "of a network"}
    work = {kind: Work(kind, label, 1.0) for kind, label in kinds.items()}
    rates = Rates.read(workspace)
    for each in work.values():
        rates.learn(each, HERE, 7.0)
    rates.save(workspace)
    file = json.loads((tmp_path / NAME).read_text())
    for found in file["rates"].values():
        for label in (label for labels in found.values() for label in labels.values()):
            del label["held_bytes"]
    for version, gone in ((2, {RECORDS, "features"}), (3, {"features"})):
        write_checked(tmp_path / NAME, file | {"format": version})
        known = Rates.read(workspace)
        assert {kind for kind, each in work.items() if known.expect(each, HERE).basis == "typical"} == gone
        assert known.expect(work["a.fit"], HERE).seconds == 7.0


class Deaf:
    """A reporter that says nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def test_a_study_that_searches_is_accounted_from_its_first_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 s of trials, whose stages are theirs, and all that comes after; the larger process of two is told of."""
    clock = [0.0]
    monkeypatch.setattr("adloc.cost.meter.time.perf_counter", lambda: clock[0])
    monkeypatch.setattr("adloc.cost.meter.peak_bytes", lambda: 900)
    plan, search = plan_of(), SimpleNamespace(study="s")
    helper = SimpleNamespace(kept_bytes={stage.key: 7 for stage in plan.stages.values()}, peak_bytes=500)
    computes = SimpleNamespace(name="ray", executor=SimpleNamespace(helper=helper, hardware=HERE))
    meter = Meter(cast("Any", Deaf()), Workspace(tmp_path), cast("Any", computes))
    state = SimpleNamespace(search=SimpleNamespace(config=SimpleNamespace(trials=1), space={}, study="s"), trials=())
    monkeypatch.setattr("adloc.cost.estimate.tried", lambda *_: {})
    fit, other = of_kind(plan, "padim.gaussian")
    with meter:
        meter.expect_trials(plan, plan.runs, [cast("Any", state)])
        meter.phase_started(START)
        clock[0] += 5.0
        meter.search_started(cast("Any", search), [])
        clock[0] += 40.0
        meter.stage_done(fit, 30.0, 0)
        meter.trial_done(cast("Any", search), cast("Any", SimpleNamespace(seconds=40.0)), [])
        meter.phase_started(START)
        clock[0] += 1.0
        meter.study_started(plan, plan.runs)
        meter.run_started(plan.runs[0])
        clock[0] += 10.0
        meter.stage_done(other, 8.0, 0)
        for phase in (TRACKING, "tables", EXPLAIN, REPORT, MODELS):
            meter.phase_started(cast("Any", phase))
        clock[0] += 4.0
    account = meter.account
    assert account is not None
    taken = {kind: seconds for kind, (_, seconds) in account.seconds.items() if seconds}
    assert taken == {START: 6.0, TRIALS: 40.0, "padim.gaussian": 8.0, RECORDS: 2.0, MODELS: 4.0}
    assert account.seconds[TRIALS][0] is not None
    assert (account.taken_s, account.memory_bytes, account.disk_bytes) == (60.0, 900, 14.0)
