"""Recorded runs computed again: the same bits where nothing is wrong, and by name what differs or is damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from adloc.computing.environment import limit_threads
from adloc.computing.store import Store
from adloc.methods.detector import Result
from adloc.planning.plan import each_stage
from adloc.planning.sources import FeatureStage
from adloc.planning.stages import StepStage, ThresholdStage
from adloc.record.files import write_checked
from adloc.study import prepare
from adloc.verify.bits import Difference, difference
from adloc.verify.recorded import compare_record
from adloc.verify.stages import compare_stage
from adloc.verify.verification import draw
from adloc.workspace import Workspace
from commandline import adloc, call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.study import Study

ONE = np.array([1.0, 2.0, np.nan], dtype=np.float32)


@pytest.mark.parametrize(
    ("kept", "made", "found"),
    [
        (ONE, ONE.copy(), "same"),
        (ONE, ONE + np.float32(0.25), 0.25),
        (ONE, np.array([1.0, 2.0, 3.0], dtype=np.float32), np.inf),  # a number where there was none
        (np.zeros(2), -np.zeros(2), 0.0),  # another bit, and no other number
        (ONE, ONE.astype(np.float64), 0.0),
        (ONE, ONE[:2], None),
        (np.array([3], dtype=np.uint8), np.array([5], dtype=np.uint8), 2.0),  # 254 as bytes are subtracted
        (0.1 + 0.2, 0.3, 5.551115123125783e-17),
        (float("nan"), float("nan"), "same"),
        ("a", "b", None),
        ("a", "a", "same"),
    ],
)
def test_every_bit_is_compared(kept: object, made: object, found: float | str | None) -> None:
    """Of arrays, numbers and texts; the largest difference is that of the numbers."""
    expected = None if found == "same" else Difference(("it",), found)  # type: ignore[arg-type]
    assert difference({"it": kept}, {"it": made}, ["it"]) == expected
    assert difference({"it": kept}, {}, ["it"]) == Difference(("it",), None)


def test_a_difference_at_the_end_of_a_large_array_is_measured() -> None:
    """Arrays are looked at in pieces."""
    one = np.zeros(3_000_001, dtype=np.float16)
    other = one.copy()
    other[-1] = 0.5
    assert difference({"it": one}, {"it": other}, ["it"]) == Difference(("it",), 0.5)


def test_a_study_without_records_is_told_so(spread_file: Path, tmp_path: Path) -> None:
    """Before anything is computed."""
    output = adloc("study", "verify", spread_file, "--workspace", tmp_path / "w", expect=2).output
    assert "no run has a record of today's data, weights and settings" in output
    assert not (tmp_path / "w").exists()


def test_the_sample_is_drawn_by_its_seed() -> None:
    """The same runs again; over many seeds each run as often as any; runs that are added leave most of it."""
    run_ids = [f"run-{number}" for number in range(20)]
    assert draw(run_ids, 5, seed=1) == draw(reversed(run_ids), 5, seed=1)
    times = [sum(run_id in draw(run_ids, 5, seed) for seed in range(400)) for run_id in run_ids]
    assert sum(times) == 5 * 400
    assert max(abs(n - 100) for n in times) < 40  # four standard deviations and a half
    assert len(draw([*run_ids, "one-more"], 5, seed=1) - draw(run_ids, 5, seed=1)) <= 1


def files_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file."""
    found = {str(p.relative_to(folder)): p.stat() for p in sorted(folder.rglob("*"))}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in found.items()}


def verified(file: Path, workspace: Path, *options: str, expect: int) -> dict[str, Any]:
    """What the command line says, for programs."""
    output = adloc("study", "verify", file, "--workspace", workspace, "--json", *options, expect=expect).stdout
    found: dict[str, Any] = json.loads(output)
    return found


@pytest.fixture
def threads() -> Iterator[None]:
    """The number of threads is as before after the test."""
    before = torch.get_num_threads()
    yield
    limit_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_another_number_of_threads_gives_the_same_bits_and_nothing_is_written(
    spread_file: Path, spread_local: Path
) -> None:
    """Every stage and every file of the record; the workspace has the same files of the same times afterwards."""
    before = files_of(spread_local)
    n_threads = 2 if torch.get_num_threads() == 1 else 1
    found = verified(spread_file, spread_local, "--runs", "2", "--jobs", str(n_threads), expect=0)
    assert files_of(spread_local) == before
    assert found["n_recorded"] == 8
    assert len(found["runs"]) == 2
    for run in found["runs"]:
        assert {each["outcome"] for each in run["compared"]} == {"equal"}
        kinds = [each["what"].split()[0] for each in run["compared"]]
        assert kinds[:2] == ["features", "patchcore.coreset"]  # inputs first
        assert {"patchcore.scores", "threshold", "truth", "evaluation", "segmentation", "record:"} <= set(kinds)
        assert run["elsewhere"]["threads"][1] == str(n_threads)
        assert (run["same"], run["first"], run["score_gap"]) == (True, None, 0.0)
    drawn = {run["run_id"] for run in found["runs"]}
    assert len(drawn) == 2


@pytest.mark.slow
@pytest.mark.parametrize("ratios", ["[0.1]", "[0.1, 0.5, 0.8]"])
def test_what_was_kept_for_more_or_less_than_is_asked_now_is_compared_as_it_was_kept(
    ratios: str, spread_file: Path, spread_local: Path
) -> None:
    """A coreset of 50 % is kept; a study that now asks for 10 %, or for 80 % as well, has the same stage."""
    override = f"methods[0].grid.coreset_ratio={ratios}"
    (run,) = verified(spread_file, spread_local, "--runs", "1", "--set", override, expect=0)["runs"]
    assert {each["outcome"] for each in run["compared"]} == {"equal"}
    assert "patchcore.coreset of train" in {each["what"] for each in run["compared"]}


@pytest.mark.slow
def test_tuned_runs_are_computed_again_too(spread_tuned_file: Path, spread_tuned_local: Path) -> None:
    """With what their search has found; no trial is made again."""
    before = files_of(spread_tuned_local)
    found = verified(spread_tuned_file, spread_tuned_local, "--runs", "2", expect=0)
    assert files_of(spread_tuned_local) == before
    assert {each["outcome"] for run in found["runs"] for each in run["compared"]} == {"equal"}


def other_processor(n_threads: int) -> dict[str, str]:
    """An environment in which no library uses the vector instructions that this processor has beyond SSE4."""
    plain = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "OPENBLAS_CORETYPE": "Nehalem"}
    return {**os.environ, **plain, "OMP_NUM_THREADS": str(n_threads), "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.slow
def test_other_instructions_are_named_and_move_scores_by_less_than_is_allowed(
    spread_file: Path, spread_local: Path
) -> None:
    """What an older processor would compute: other bits from the features on, and scores within the tolerance."""
    if torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "NO AVX"):
        pytest.skip("this processor has no other instructions")
    arguments = ["study", "verify", spread_file, "--workspace", spread_local, "--runs", "1", "--json"]
    command = [sys.executable, "-P", "-m", "adloc", *map(str, arguments)]
    done = subprocess.run(command, env=other_processor(1), capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["elsewhere"]["instructions"][1] == "DEFAULT"
    assert run["first"]["what"] == "features of train"
    assert 0 < run["first"]["largest"] < 1e-3
    assert 0 < run["score_gap"] < run["tolerance"]


@pytest.fixture(scope="module")
def study(spread_file: Path, spread_local: Path) -> Study:
    """The study that has run, to read only."""
    return prepare(spread_file, [], Workspace(spread_local), download=False)


def flip(path: Path, place: int = -1) -> None:
    """Change a bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.slow
def test_every_kind_of_stage_is_held_to(study: Study, tmp_path: Path) -> None:
    """A flipped bit is damage, another value a difference of its size, an absent file nothing to compare with."""
    made, kept = Store(study.workspace.store_path), Store(tmp_path)
    stages = list(each_stage(study.plan.runs[:1]))
    assert len({stage.kind for stage in stages}) >= 7
    for stage in stages:
        keys = stage.image_keys if isinstance(stage, FeatureStage) else (stage.key,)
        for key in keys:
            kept.path(stage.kind, key).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made.path(stage.kind, key), kept.path(stage.kind, key))
    assert {compare_stage(stage, kept, made).outcome for stage in stages} == {"equal"}  # type: ignore[union-attr]
    for stage in stages:
        key = stage.image_keys[3] if isinstance(stage, FeatureStage) else stage.key
        path = kept.path(stage.kind, key)
        content = path.read_bytes()
        flip(path)
        damaged = compare_stage(stage, kept, made)
        assert damaged is not None
        assert damaged.outcome == "damaged"
        path.unlink()
        absent = compare_stage(stage, kept, made)
        assert absent is not None
        assert absent.outcome == "absent"
        path.write_bytes(content)
        found = Store(tmp_path).get(stage.kind, key)
        assert found is not None
        name = "image_scores" if isinstance(stage, StepStage) and "image_scores" in found.arrays else ""
        if name or isinstance(stage, FeatureStage):
            name = name or stage.layers[0]  # type: ignore[union-attr]
            other = np.array(found.arrays[name])
            other.flat[0] = 3.0
            gap = abs(3.0 - float(found.arrays[name].flat[0]))
            kept.put(stage.kind, key, Result({**found.arrays, name: other}, found.facts, found.seconds))
        elif isinstance(stage, ThresholdStage):
            gap = 0.5
            kept.put(stage.kind, key, Result({}, {"threshold": float(found.facts["threshold"]) + 0.5}))
        else:
            continue
        differs = compare_stage(stage, kept, made)
        assert differs is not None
        assert differs.outcome == "differs"
        assert differs.largest == pytest.approx(gap)
        path.write_bytes(content)


@pytest.mark.slow
def test_every_file_of_a_record_is_held_to(study: Study, tmp_path: Path) -> None:
    """A flipped bit is damage; another figure under a checksum that fits, or another score, a difference."""
    run_id = study.plan.runs[0].run_id
    folder = tmp_path / "studies" / "spread" / "records" / run_id
    shutil.copytree(study.records.path(run_id), folder)

    def found() -> dict[str, tuple[str, float | None]]:
        records = Workspace(tmp_path).study_path("spread")
        return {
            each.what: (each.outcome, each.largest)
            for each in compare_record(run_id, type(study.records)(records), study.records)
        }

    names = {"record.json", *(str(p.relative_to(folder)) for p in folder.rglob("*.*") if p.name != "record.json")}
    assert found() == {f"record: {name}": ("equal", None) for name in names}
    assert len(names) >= 6
    for name in sorted(names):
        content = (folder / name).read_bytes()
        flip(folder / name, len(content) // 2)
        assert found()[f"record: {name}"][0] == "damaged"
        (folder / name).write_bytes(content)
    record = json.loads((folder / "record.json").read_bytes())
    record.pop("checksum")
    record["metrics"]["image_auroc"] -= 0.25
    record["metrics"]["fit_s"] += 1  # measured
    record["files"] = {}
    write_checked(folder / "record.json", record)
    scores = (folder / "images.csv").read_text().splitlines()
    before = scores[1].split(",")
    after = [*before[:5], str(float(before[5]) + 2), *before[6:]]
    (folder / "images.csv").write_text("\n".join([scores[0], ",".join(after), *scores[2:]]) + "\n")
    assert found()["record: record.json"] == ("differs", pytest.approx(0.25))
    assert found()["record: images.csv"] == ("differs", pytest.approx(2))
    assert found()["record: curves.json"] == ("equal", None)


@pytest.mark.slow
def test_what_is_damaged_is_named_first_of_all_that_it_spoils(
    spread_file: Path, spread_local: Path, study: Study, tmp_path: Path
) -> None:
    """Features of one run, a file of its record, and the record of another run: exit code 3, and each by its name."""
    workspace = Path(shutil.copytree(spread_local, tmp_path / "w"))
    one, other = study.plan.runs[0], study.plan.runs[-1]
    records = workspace / "studies" / "spread" / "records"
    for path in records.iterdir():
        if path.name not in (one.run_id, other.run_id):
            shutil.rmtree(path)
    features = one.test.scores.source
    assert isinstance(features, FeatureStage)
    flip(Store(workspace / "store").path("features", features.image_keys[0]))
    flip(records / one.run_id / "images.csv")
    flip(records / other.run_id / "record.json", 100)
    before = files_of(workspace)
    found = verified(spread_file, workspace, expect=3)
    assert files_of(workspace) == before
    first, second = found["runs"]
    assert (first["run_id"], second["run_id"]) == (one.run_id, other.run_id)
    spoilt = [each["what"] for each in first["compared"] if each["outcome"] != "equal"]
    assert spoilt == ["features of test", "record: images.csv"]
    assert first["first"]["what"] == "features of test"
    assert features.part.samples[0].identity in first["first"]["detail"]
    assert second["first"]["what"] == "record: record.json"
    output = call("study", "verify", spread_file, "--workspace", workspace, "--runs", "1").stdout
    assert "0 of 1 runs have the same bits, of 2 recorded ones" in output
