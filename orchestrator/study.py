"""A study from its file to its answer. The main path: prepare (spec, inventory, plan), then run it.

study.yaml -> StudySpec -> Plan (runs and stages) -> executor -> RunRecord -> MLflow, results table
"""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from adloc.datasets import check, load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import FingerprintCache, fingerprints
from adloc.errors import Complaint, UserError
from adloc.methods.backbone import hash_weights, resolve_weights
from adloc.methods.errors import MethodError
from adloc.plan import Inventory, Plan, make_plan
from adloc.records import Records, write_json
from adloc.results import current, table, write
from adloc.validation import load_study
from adloc.variants import variants

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from adloc.executor import Reporter
    from adloc.records import RunRecord
    from adloc.results import Row
    from adloc.spec import StudySpec
    from adloc.study_file import StudyFile
    from adloc.workspace import Workspace


@dataclass(frozen=True)
class Study:
    """A validated study with the data that it names, ready to run.

    Attributes:
        file: says which line a mistake is in.
        spec: what is asked.
        plan: its runs and stages.
        workspace: where everything goes.
        weights: where each (backbone, weights) comes from, in words.
    """

    file: StudyFile
    spec: StudySpec
    plan: Plan
    workspace: Workspace
    weights: dict[tuple[str, str], str]

    @property
    def records(self) -> Records:
        """The study's records in the workspace."""
        return Records(self.workspace.study_path(self.spec.study))

    def rows(self) -> list[Row]:
        """The results so far: a row a run of the plan that has a record, then the macro rows."""
        records = {r.run_id: r for r in self.records.all()}
        return table(current(self.plan, records))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run of a study ended.

    Attributes:
        n_done: runs with a good record, those of earlier sessions included.
        n_computed: of these, recorded now.
        n_failed: runs that failed.
        n_stages: stages computed now.
    """

    n_done: int
    n_computed: int
    n_failed: int
    n_stages: int


def prepare(path: Path, overrides: Sequence[str], workspace: Workspace, *, download: bool) -> Study:
    """Read a study file and all that its plan rests on: images by content, weights by hash.

    Args:
        path: of the study file.
        overrides: "dotted.key=value".
        workspace: whose cache of content hashes is used.
        download: whether missing published weights may be fetched.

    Raises:
        UserError: anything wrong with the file, the data or the weights, before any work is done.
    """
    file, spec = load_study(path, overrides)
    with _located(file):
        hashes, places = _weights(spec, download=download)
        plan = make_plan(spec, _inventory(spec, workspace, hashes))
    return Study(file, spec, plan, workspace, places)


def run_study(
    study: Study, device_name: str, reporter: Reporter, *, fresh: bool = False, batch_size: int | None = None
) -> Outcome:
    """Compute and record every run that has no current record; keep MLflow and the results table in step.

    Args:
        study: prepared.
        device_name: auto, cpu or cuda.
        reporter: hears of progress.
        fresh: compute everything again.
        batch_size: images a backbone pass; None for what is fastest on the device.

    Raises:
        UserError: no such device, or another process runs this study.
        KeyboardInterrupt: on SIGINT and SIGTERM, with everything recorded so far safe.
    """
    from adloc.compute import Extents, Workbench
    from adloc.environment import pick_device
    from adloc.executor import LocalExecutor
    from adloc.store import Store, cap_bytes
    from adloc.tracking import Tracking

    spec, plan, workspace = study.spec, study.plan, study.workspace
    folder = workspace.study_path(spec.study)
    device = pick_device(device_name)
    with workspace.lock(spec.study), _terminate_as_interrupt():
        store = Store(workspace.store_path)
        bench = Workbench(store, Extents.of(plan), device, reporter, batch_size)
        todo = {run.run_id for run in plan.runs} if fresh else set(pending(study))
        with _located(study.file):
            bench.load_networks(s for run in plan.runs if run.run_id in todo for s in run.stages())
        if fresh:
            _forget(study, store)
        _write_plan(study, folder)
        tracking = Tracking(workspace, spec, {k for v in variants(spec) for k in v.hyperparameters()})
        tracking.begin((folder / "study.yaml").read_text(), (folder / "plan.json").read_text())
        known = {r.run_id: r for r in study.records.all()}
        status = "KILLED"
        try:
            executor = LocalExecutor(plan, bench, study.records, reporter)
            for record, computed in executor.run(known):
                if not tracking.has(record):
                    tracking.log(record, study.records.path(record.run_id))
                if computed:
                    _write_results(study, folder)
            rows = _write_results(study, folder)
            for row in rows:
                if row["category"] == "macro" and row["status"] == "done":
                    tracking.log_macro(str(row["run_id"]), row)
            failed = sum(row["status"] == "failed" for row in rows)
            status = "FAILED" if failed else "FINISHED"
        finally:
            tracking.end(status, folder / "results.csv")
        store.collect(cap_bytes(), unused_since_s=3600)
        n_done = sum(row["status"] == "done" and row["category"] != "macro" for row in rows)
        return Outcome(n_done, executor.n_recorded - failed, failed, reporter.n_stages)


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What was found in a study's images.

    Attributes:
        spec: the study.
        errors: what keeps it from running.
        warnings: what does not.
        plan: None with errors.
    """

    spec: StudySpec
    errors: tuple[Complaint, ...]
    warnings: tuple[Complaint, ...]
    plan: Plan | None


def check_data(path: Path, overrides: Sequence[str], workspace: Workspace) -> DataCheck:
    """Read every image of a study and divide them into parts; needs no weights.

    Raises:
        UserError: the study file itself is wrong.
    """
    file, spec = load_study(path, overrides)
    report = check(spec.dataset)
    errors = [Complaint(p.found, p.rule, p.remedy) for p in report.errors]
    warnings = tuple(Complaint(p.found, p.rule, p.remedy) for p in report.warnings)
    plan = None
    if not errors:
        try:
            with _located(file):
                plan = make_plan(spec, _inventory(spec, workspace, {}))
        except UserError as error:
            errors += error.complaints
    return DataCheck(spec, tuple(errors), warnings, plan)


def spec_yaml(spec: StudySpec) -> str:
    """The resolved spec as a study file, defaults included."""
    text = StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(spec.resolved(), text)
    return text.getvalue()


def plan_json(plan: Plan) -> dict[str, object]:
    """The plan as plain values: its runs, and how many stages of each kind they share."""
    return {
        "study": plan.spec.study,
        "n_runs": len(plan.runs),
        "n_stages": plan.count(),
        "runs": [
            {
                "run_id": run.run_id,
                "category": run.category,
                "method": run.variant.method.name,
                "regime": run.regime,
                "scope": run.scope,
                "threshold_scope": run.threshold_scope,
                "repeat": run.repeat,
                "params": run.variant.hyperparameters(),
                "n_train": len(run.train_part),
                "n_val": len(run.validation.truth.part) if run.validation else 0,
                "n_test": len(run.test.truth.part),
            }
            for run in plan.runs
        ],
    }


def pending(study: Study) -> list[str]:
    """Ids of the plan's runs that have no good current record."""
    known = {r.run_id: r for r in study.records.all()}
    return [r.run_id for r in study.plan.runs if not is_current(known.get(r.run_id), r.key)]


def is_current(record: RunRecord | None, key: str) -> bool:
    """Whether a record answers the run as it stands today."""
    return record is not None and record.key == key and record.status == "done"


def _inventory(spec: StudySpec, workspace: Workspace, weights: dict[tuple[str, str, int], str]) -> Inventory:
    """Every image by content. Those read before and unchanged since are not read again."""
    samples = load_samples(spec.dataset)
    return Inventory(samples, fingerprints(samples, FingerprintCache(workspace.fingerprints_path)), weights)


def _weights(spec: StudySpec, *, download: bool) -> tuple[dict[tuple[str, str, int], str], dict[tuple[str, str], str]]:
    """sha256 by (backbone, weights, seed), and in words where each comes from."""
    hashes: dict[tuple[str, str, int], str] = {}
    places: dict[tuple[str, str], str] = {}
    known: dict[tuple[str, str], str] = {}
    for variant in variants(spec):
        values = variant.params.model_dump(mode="json")
        name = (str(values["backbone"]), str(values["weights"]))
        for seed in range(spec.seed, spec.seed + spec.repeats):
            if (*name, seed) in hashes:
                continue
            file = resolve_weights(*name, seed=seed, download=download)
            if name[1] == "random" or name not in known:
                known[name] = hash_weights(name[0], file)
            hashes[*name, seed] = known[name]
            places[name] = file.description
    return hashes, places


@contextmanager
def _located(file: StudyFile) -> Iterator[None]:
    """Say with every problem of data and methods which line of the study file it comes from."""
    try:
        yield
    except DatasetError as error:
        complaints = [
            Complaint(f"{file.where(('dataset', *p.key))}: {p.found}", p.rule, p.remedy) for p in error.problems
        ]
        raise UserError(*complaints) from None
    except MethodError as error:
        where = next(
            (
                file.where(loc)
                for i, entry in enumerate(file.data["methods"])
                for key in ("weights", "backbone")
                for loc in [("methods", i, "params", key)]
                if key in entry.get("params", {}) and str(entry["params"][key]) in error.found
            ),
            str(file.path),
        )
        raise UserError(Complaint(f"{where}: {error.found}", error.rule, error.remedy)) from None


def _forget(study: Study, store: object) -> None:
    """Drop the stages of this study and set its records aside."""
    from adloc.stages import FeatureStage
    from adloc.store import Store

    assert isinstance(store, Store)  # noqa: S101  # for the type checker
    for stage in study.plan.stages.values():
        keys = stage.image_keys if isinstance(stage, FeatureStage) else (stage.key,)
        for key in keys:
            store.remove(stage.kind, key)
    for run in study.plan.runs:
        study.records.supersede(run.run_id)


def _write_plan(study: Study, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(spec_yaml(study.spec), encoding="utf-8")
    write_json(folder / "plan.json", plan_json(study.plan))


def _write_results(study: Study, folder: Path) -> list[Row]:
    rows = study.rows()
    aside = folder / ".results.csv.tmp"
    aside.write_text(write(rows, "csv"), encoding="utf-8")
    aside.replace(folder / "results.csv")
    write_json(folder / "results.json", json.loads(write(rows, "json")))
    return rows


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the study in the same orderly way as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
