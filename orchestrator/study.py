"""A study from its file to its plan, and which runs are still to be done; `adloc.run.complete` goes on from there.

study.yaml -> StudySpec -> Plan (runs and stages) -> executor -> RunRecord -> MLflow, results table
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, partial
from io import StringIO
from typing import TYPE_CHECKING

from ruamel.yaml import YAML

from adloc.datasets import check, load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import FingerprintCache, fingerprints
from adloc.errors import Complaint, NotThereError, UserError
from adloc.garbage import rarely_collected
from adloc.methods.backbone import hash_weights, resolve_weights
from adloc.methods.errors import MethodError, MissingWeightsError
from adloc.planning.calibration import calibrations
from adloc.planning.inventory import Inventory
from adloc.planning.part_warnings import part_warnings
from adloc.planning.plan import Plan, make_plan
from adloc.planning.stage_maker import StageMaker
from adloc.planning.targets import load_targets, source_samples, target_datasets
from adloc.possible import require_layers, require_possible_runs
from adloc.record.reasons import lacking
from adloc.record.records import Records
from adloc.study_file.size import require_size
from adloc.study_file.validation import load_study
from adloc.study_file.variants import network_of, variants
from adloc.tuning.search import possible
from adloc.tuning.state import progress, search_states

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from adloc.planning.plan import Run
    from adloc.record.records import RunRecord
    from adloc.study_file.reader import StudyFile
    from adloc.study_file.spec import StudySpec
    from adloc.tuning.state import SearchState
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
        inventory: what the plan was made from.
        searches: of the methods that are tuned, with their trials so far; the plan has the winners of those done.
        lacking: why weights are not there, by (backbone, weights); only of a study that is planned and not run. All
            that rests on them has keys of its own, which no result has.
    """

    file: StudyFile
    spec: StudySpec
    plan: Plan
    workspace: Workspace
    weights: dict[tuple[str, str], str]
    inventory: Inventory
    searches: tuple[SearchState, ...] = ()
    lacking: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @cached_property
    def records(self) -> Records:
        """The study's records in the workspace."""
        name = self.spec.study
        return Records(self.workspace.study_path(name), partial(self.workspace.push_record, name))


def prepare(
    path: Path, overrides: Sequence[str], workspace: Workspace, *, download: bool, may_lack_weights: bool = False
) -> Study:
    """Read a study file and all that its plan rests on: images by content, weights by hash.

    Args:
        path: of the study file.
        overrides: "dotted.key=value".
        workspace: whose cache of content hashes is used.
        download: whether missing published weights may be fetched.
        may_lack_weights: whether weights may be missing, for a plan.

    Raises:
        NotThereError: images cannot be read, or weights are missing.
        UserError: anything else wrong with the file, the data or the weights, before any work is done.
    """
    file, spec = load_study(path, overrides)
    workspace.pull(spec.study)
    with located(file), rarely_collected():
        require_layers(file, spec)
        found = _weights(spec, download=download, may_lack=may_lack_weights)
        inventory = _inventory(file, spec, workspace, found.hashes)
        plan = _plan(file, spec, inventory)
        require_possible_runs(file, plan)
        return with_winners(Study(file, spec, plan, workspace, found.places, inventory, lacking=found.lacking))


def with_winners(study: Study) -> Study:
    """The study with its searches as they stand on disk now, and with what they found in its plan."""
    spec, inventory = study.spec, study.inventory
    if not any(entry.tune for entry in spec.methods):
        return study
    maker, folder = StageMaker(spec, inventory.weights), study.workspace.study_path(spec.study)
    parts = cache(partial(calibrations, spec, inventory))
    states = search_states(spec, list(study.plan.parts), parts, maker, folder)
    if study.lacking:  # whether the trials are of these weights cannot be told
        states = [replace(state, changed=(), trials=()) for state in states]
    winners = [winner for state in states for winner in state.winners]
    return replace(study, searches=tuple(states), plan=make_plan(spec, inventory, winners))


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
    for dataset in target_datasets(spec).values():
        report += check(dataset)
    errors = [Complaint(p.found, p.rule, p.remedy) for p in report.errors]
    warnings = [Complaint(p.found, p.rule, p.remedy) for p in report.warnings]
    plan = None
    if not errors:
        try:
            with located(file):
                inventory = _inventory(file, spec, workspace, {})
                plan = _plan(file, spec, inventory)
            warnings += part_warnings(plan.parts, inventory.fingerprints, spec.split)
            for name, target in inventory.targets.items():
                warnings += part_warnings(plan.targets[name], target.fingerprints, spec.split)
        except UserError as error:
            errors += error.complaints
    return DataCheck(spec, tuple(errors), tuple(warnings), plan)


def spec_yaml(spec: StudySpec) -> str:
    """The resolved spec as a study file, defaults included."""
    text = StringIO()
    yaml = YAML()
    yaml.width = 100
    yaml.dump(spec.resolved(), text)
    return text.getvalue()


def search_json(study: Study) -> dict[str, object]:
    """How far the searches are, under "tuning"; nothing for a study that tunes nothing."""
    return {"tuning": progress(study.searches)} if study.searches else {}


def plan_json(plan: Plan) -> dict[str, object]:
    """The plan as plain values: its runs, and how many stages of each kind they share."""
    return {
        "study": plan.spec.study,
        "n_runs": len(plan.runs),
        "n_stages": plan.count(),
        "runs": run_rows(plan),
        **({"absent": [asdict(each) for each in plan.absent]} if plan.absent else {}),
    }


def run_rows(plan: Plan) -> list[dict[str, object]]:
    """The runs of a plan as plain values."""
    return [
        {
            "run_id": run.run_id,
            "category": run.category,
            "method": run.variant.method.name,
            "regime": run.regime,
            "scope": run.scope,
            "threshold_scope": run.threshold_scope,
            "repeat": run.repeat,
            "setting": run.variant.setting,
            "domain": run.domain,
            **({"condition": run.condition.values()} if run.condition.values() else {}),
            "params": run.variant.hyperparameters(),
            "n_train": len(run.train_part),
            "n_val": len(run.validation.truth.part) if run.validation else 0,
            "n_test": len(run.test.truth.part),
        }
        for run in plan.runs
    ]


@rarely_collected()
def pending(study: Study) -> list[Run]:
    """The plan's runs that have no good record of today's data, weights and settings, with every figure."""
    known = {r.run_id: r for r in study.records.all()}
    return [run for run in study.plan.runs if not is_complete(known.get(run.run_id), run)]


def is_current(record: RunRecord | None, run: Run) -> bool:
    """Whether a record answers the run as it stands today."""
    return record is not None and record.key == run.key and record.status == "done"


def is_complete(record: RunRecord | None, run: Run) -> bool:
    """Whether a record answers the run as it stands today, with every figure that the study reports."""
    return record is not None and is_current(record, run) and not lacking(record, run.test.metrics)


def incomplete(study: Study) -> dict[str, tuple[str, ...]]:
    """By id of the runs whose record answers them but for some figures: those figures."""
    found: dict[str, tuple[str, ...]] = {}
    for run in study.plan.runs:
        record = study.records.get(run.run_id)
        if record is not None and is_current(record, run) and (names := lacking(record, run.test.metrics)):
            found[run.run_id] = names
    return found


def _inventory(
    file: StudyFile, spec: StudySpec, workspace: Workspace, weights: dict[tuple[str, str, int], str]
) -> Inventory:
    """Every image by content. Those read before and unchanged since are not read again."""
    samples, cache = load_samples(spec.dataset), FingerprintCache(workspace.fingerprints_path)
    source = source_samples(file, spec, samples)
    known = fingerprints(source, cache)
    return Inventory(source, known, weights, load_targets(file, spec, samples, source, cache))


def _plan(file: StudyFile, spec: StudySpec, inventory: Inventory) -> Plan:
    """The plan, once the data says how many categories there are and so how many runs."""
    require_size(file, spec, len({sample.category for sample in inventory.samples}))
    return make_plan(spec, inventory)


@dataclass(frozen=True, slots=True)
class _Weights:
    hashes: dict[tuple[str, str, int], str] = field(default_factory=dict)  # sha256 by (backbone, weights, seed)
    places: dict[tuple[str, str], str] = field(default_factory=dict)  # in words where each comes from
    lacking: dict[tuple[str, str], str] = field(default_factory=dict)  # why it is not there


def _weights(spec: StudySpec, *, download: bool, may_lack: bool) -> _Weights:
    found = _Weights()
    known: dict[tuple[str, str], str] = {}
    for variant in (*variants(spec), *possible(spec)):
        name = network_of(variant.params.model_dump(mode="json"))
        if name is None:
            continue
        for seed in range(spec.seed, spec.seed + spec.repeats):
            if (*name, seed) in found.hashes:
                continue
            try:
                file = resolve_weights(*name, seed=seed, download=download)
            except MissingWeightsError as error:
                if not may_lack:
                    raise
                found.lacking[name] = error.found
                found.hashes[*name, seed] = f"not there: {name[1]}"
                continue
            if name[1] == "random" or name not in known:
                known[name] = hash_weights(name[0], file)
            found.hashes[*name, seed] = known[name]
            found.places[name] = file.description
    return found


@contextmanager
def located(file: StudyFile) -> Iterator[None]:
    """Say with every problem of data and methods which line of the study file it comes from."""
    try:
        yield
    except DatasetError as error:
        complaints = [
            Complaint(f"{file.where(('dataset', *p.key))}: {p.found}", p.rule, p.remedy) for p in error.problems
        ]
        raise NotThereError(*complaints) from None
    except MethodError as error:
        where = next(
            (
                file.where(loc)
                for i, entry in enumerate(file.data["methods"])
                for key in ("weights", "backbone")
                for loc in [("methods", i, "params", key)]
                if key in entry.get("params", {}) and str(entry["params"][key]) in error.found
            ),
            file.where(("image", "tiles")) if error.found.startswith("image.") else str(file.path),
        )
        kind = NotThereError if isinstance(error, MissingWeightsError) else UserError
        raise kind(Complaint(f"{where}: {error.found}", error.rule, error.remedy)) from None
