"""The door: some recorded runs of a study computed again in a scratch store, and compared with what is kept of them.

The workspace is only read: images are hashed again, and what is computed goes to a folder that is removed at the end.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from adloc.computing.compute import Workbench
from adloc.computing.store import DamagedError, Store
from adloc.datasets.errors import DatasetError
from adloc.errors import Complaint, UserError
from adloc.keys import content_key
from adloc.methods.errors import MethodError
from adloc.model.selftest import tolerance_of
from adloc.planning.bases import deepen
from adloc.planning.extents import Extents
from adloc.planning.keeping import SPARE_BYTES, plan_disk
from adloc.planning.plan import each_stage, sources
from adloc.record.reasons import NOT_ASKED, lacking
from adloc.record.recorder import record_run
from adloc.record.records import Records
from adloc.study import is_current, located, prepare
from adloc.verify.found import Verification, Verified
from adloc.verify.recorded import compare_record
from adloc.verify.stages import compare_audit, compare_stage, read_untouched
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adloc.executors.on_demand import OnDemand
    from adloc.planning.plan import Run
    from adloc.planning.stages import Stage
    from adloc.record.records import RunRecord
    from adloc.run.reporter import Reporter
    from adloc.study import Study

_NO_MACHINE = {"weights_sha256"}  # what a record's environment holds beside the machine and its versions


@dataclass(frozen=True, slots=True)
class OnlyRead(Workspace):
    """A workspace that is not written to: the memory of hashed images is another, which begins empty.

    Attributes:
        scratch: a folder that goes away.
    """

    scratch: Path = Path()

    @property
    def fingerprints_path(self) -> Path:
        """Content hashes of files already read, in this verification."""
        return self.scratch / "fingerprints.json"


def verify_study(
    path: Path,
    overrides: Sequence[str],
    workspace: Workspace,
    on_demand: OnDemand,
    reporter: Reporter,
    *,
    n_runs: int,
    seed: int,
) -> Verification:
    """Compute a sample of the recorded runs again and compare them bit by bit with what is kept.

    Args:
        path: of the study file.
        overrides: "dotted.key=value".
        workspace: in which the study has run.
        on_demand: says on which device, with how many threads.
        reporter: hears of progress.
        n_runs: of the sample; all where there are fewer.
        seed: of the draw; runs that are added to a study change little of it.

    Raises:
        UserError: anything wrong with file, data or weights, no run to compare, or no room for what is computed.
    """
    with TemporaryDirectory(prefix="adloc-verify-") as folder:
        scratch = Path(folder)
        study = prepare(path, overrides, OnlyRead(workspace.root, workspace.shared, scratch), download=False)
        recorded = [run for run in study.plan.runs if _is_recorded(study, run)]
        if not recorded:
            raise UserError(
                Complaint(
                    f"{path}: no run has a record of today's data, weights and settings in {workspace.location}",
                    "what is verified are recorded runs",
                    "run the study first, or name the --workspace and the --set that it ran with",
                )
            )
        drawn = draw((run.run_id for run in recorded), n_runs, seed)
        sample = [run for run in recorded if run.run_id in drawn]
        verifier = _Verifier(study, sample, on_demand, reporter, scratch)
        reporter.study_started(replace(study.plan, runs=tuple(sample)), sample)
        return Verification(study.spec.study, tuple(verifier.verify(run) for run in sample), len(recorded))


def draw(run_ids: Iterable[str], n_runs: int, seed: int) -> set[str]:
    """Some of these runs, all alike likely: those whose hash with the seed comes first.

    Example:
        >>> draw(["a", "b", "c"], 5, seed=0) == {"a", "b", "c"}
        True
    """
    return set(sorted(run_ids, key=lambda run_id: content_key(["verify", seed, run_id]))[:n_runs])


def _is_recorded(study: Study, run: Run) -> bool:
    """Whether there is a record to hold a run to; one that cannot be read is held to as well, and found damaged."""
    record = study.records.get(run.run_id)
    if record is None:
        return (study.records.path(run.run_id) / "record.json").exists()
    if not is_current(record, run):
        return False
    # Made under fewer evaluation.metrics it has fewer curves, too; one that is only older is held to what it has.
    return all(record.reasons.get(name) != NOT_ASKED for name in lacking(record, run.test.metrics))


class _Verifier:
    """Computes runs again, what they share once, and compares each."""

    def __init__(
        self, study: Study, sample: Sequence[Run], on_demand: OnDemand, reporter: Reporter, scratch: Path
    ) -> None:
        executor, stages = on_demand.executor, tuple(each_stage(sample))
        self._study, self._reporter = study, reporter
        _bring(study, stages)
        self._kept, self._made = Store(study.workspace.store_path), Store(scratch / "store")
        self._records = Records(scratch / "study")
        reach = _reach(study, stages, self._kept)
        self._bench = Workbench(self._made, reach, executor.device, reporter, executor.batch_size)
        with located(study.file):
            self._bench.load(stages)
        executor.begin(self._made, sources(stages), reporter)
        _require_room(study, stages, self._bench, scratch)

    def verify(self, run: Run) -> Verified:
        """One run."""
        self._reporter.run_started(run)
        try:
            again = record_run(run, self._bench, self._records, datetime.now(UTC))
        except (UserError, DatasetError, MethodError) as error:
            return Verified(run.run_id, (), {}, error=str(error))
        self._records.write(again)
        self._reporter.run_done(run, again)
        stages = {stage.key: stage for stage in each_stage([run])}.values()
        found = [each for stage in stages if (each := compare_stage(stage, self._kept, self._made)) is not None]
        found.append(compare_audit(run, self._kept))
        found += compare_record(run.run_id, self._study.records, self._records)
        before = self._study.records.get(run.run_id)
        if before is None or not self._study.records.is_whole(before):
            return Verified(run.run_id, tuple(found), {} if before is None else elsewhere(before, again))
        gap, tolerance = _scores(run.run_id, self._study.records, self._records)
        return Verified(run.run_id, tuple(found), elsewhere(before, again), gap, tolerance)


def elsewhere(then: RunRecord, now: RunRecord) -> dict[str, tuple[str, str]]:
    """What of machine, device and versions differs between two records of a run; what one does not name is left out."""
    names = sorted((then.environment.keys() & now.environment.keys()) - _NO_MACHINE)
    pairs = {name: (then.environment[name], now.environment[name]) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _scores(run_id: str, kept: Records, made: Records) -> tuple[float, float]:
    """The largest difference of an image's score, and how far it may be off on another machine."""
    one, other = (
        np.array([each.score for part in ("validation", "test") for each in records.image_scores(run_id, part)])
        for records in (kept, made)
    )
    return float(np.abs(one - other).max()), tolerance_of(one)


def _bring(study: Study, stages: Sequence[Stage]) -> None:
    """Fetch what is kept of these stages behind a URL and not on this machine; what is here is left as it is."""
    store = study.workspace.store()
    for stage in (*stages, *Extents.of(study.plan).bases.values()):
        lacking = [key for key in stage.result_keys if not store.path(stage.kind, key).exists()]
        store.bring(stage.kind, lacking)


def _reach(study: Study, stages: Sequence[Stage], kept: Store) -> Extents:
    """As far as each stage that is kept reaches; others as far as the plan needs them."""
    reach = Extents.of(study.plan)
    extents = dict(reach.extents)
    for stage in (*stages, *reach.bases.values()):
        if stage.key not in extents:
            continue
        try:
            before = read_untouched(kept, stage.kind, stage.key)
        except DamagedError:
            continue
        if before is not None and "extent" in before.facts:
            extents[stage.key] = float(before.facts["extent"])
    deepen(extents, reach.bases)
    return replace(reach, extents=extents)


def _require_room(study: Study, stages: Sequence[Stage], bench: Workbench, scratch: Path) -> None:
    """Refuse to begin what would end on a full disk.

    Raises:
        UserError: the disk of temporary files has not the room.
    """
    use = plan_disk(stages, study.spec.features.keep, scratch, lambda _: False, bench.image_bytes)
    if use.n_images and use.n_bytes + SPARE_BYTES > shutil.disk_usage(scratch).free:
        raise UserError(
            Complaint(
                f"{scratch}: {use}",
                f"what is computed again must fit with {SPARE_BYTES / 1e9:g} GB to spare",
                "verify fewer --runs, or let the environment variable TMPDIR name a folder on a larger disk",
            )
        )
