"""What a study costs before it starts: time, disk and memory by kind of stage, and what is there already. The door."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adloc.cost.laws import READS
from adloc.cost.phases import RECORDS, TRACKING, TRIALS, phases, trials
from adloc.cost.rates import WORST, Cost, Rates
from adloc.cost.searches import n_left, tried
from adloc.cost.start import START, USED, Start, worker_bytes
from adloc.cost.work import Work, passed_by, work_of
from adloc.planning.keeping import is_kept, passing
from adloc.planning.sources import FeatureStage
from adloc.planning.stages import EvaluationStage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from adloc.computing.store import Store
    from adloc.cost.hardware import Hardware
    from adloc.cost.rates import Basis
    from adloc.planning.plan import Plan, Run
    from adloc.planning.stages import Stage
    from adloc.tuning.state import SearchState
    from adloc.workspace import Workspace


@dataclass(slots=True)
class Line:
    """What one kind of stage, or one phase of the driver, is expected to take.

    Attributes:
        kind: "features", "patchcore.coreset", "report".
        n_todo: stages, for features images, for trials those; a phase is one.
        n_there: of them in the store already, where runs that are still to do need them.
        seconds: of all together, as if one after the other; None where a part of them is unknown.
        disk_bytes: that they leave in the workspace; what is not known is not counted.
        memory_bytes: of the process that does the largest of them; None where nothing is known.
        basis: of the least known of them; see `adloc.cost.rates.Cost`.
    """

    kind: str
    n_todo: int = 0
    n_there: int = 0
    seconds: float | None = 0.0
    disk_bytes: float = 0.0
    memory_bytes: float | None = None
    basis: Basis = "measured"

    def add(self, cost: Cost, n: int, times: int = 1) -> None:
        """Count in what is to be done: `n` stages or images in all, at the same cost so many times."""
        self.n_todo += n
        known = self.seconds is not None and cost.seconds is not None
        self.seconds = (self.seconds or 0.0) + times * (cost.seconds or 0.0) if known else None
        self.disk_bytes += times * (cost.kept_bytes or 0.0)
        self.memory_bytes = max(filter(None, (self.memory_bytes, cost.peak_bytes)), default=None)
        self.basis = max(self.basis, cost.basis, key=WORST.index)


@dataclass(frozen=True)
class Estimate:
    """What a study is expected to take.

    Attributes:
        hardware: on which it is computed.
        stages: a line a kind, in the order in which they run.
        phases: a line a phase of the driver.
        by_stage: expected seconds of every stage that is still to be computed, by key; 0 where unknown.
    """

    hardware: Hardware
    stages: tuple[Line, ...]
    phases: tuple[Line, ...]
    by_stage: Mapping[str, float] = field(default_factory=dict)

    @property
    def lines(self) -> tuple[Line, ...]:
        """All of them."""
        return (*self.stages, *self.phases)

    @property
    def seconds(self) -> float:
        """Wall time, without what is unknown. Records are written while other processes compute, the rest is not."""
        by_kind = {line.kind: line.seconds or 0.0 for line in self.lines}
        stages = sum(by_kind[line.kind] for line in self.stages)
        if self.hardware.executor == "local":
            return sum(by_kind.values())
        computing = max(stages / self.hardware.n_tasks, *self.by_stage.values(), by_kind.get(RECORDS, 0.0), 0.0)
        return computing + sum(by_kind[line.kind] for line in self.phases if line.kind != RECORDS)

    @property
    def disk_bytes(self) -> float:
        """That the workspace grows by, as far as it is known."""
        return sum(line.disk_bytes for line in self.lines)

    @property
    def memory_bytes(self) -> float | None:
        """Of the largest process; None where nothing is known."""
        return max((line.memory_bytes for line in self.lines if line.memory_bytes is not None), default=None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Kinds of which no time is known."""
        return tuple(line.kind for line in self.lines if line.seconds is None)


def estimate(
    plan: Plan,
    todo: Sequence[Run],
    workspace: Workspace,
    hardware: Hardware,
    rates: Rates | None = None,
    searches: Sequence[SearchState] = (),
    begin: Start | None = None,
) -> Estimate:
    """What the runs that are still to do are expected to take.

    Nothing is opened but the heads of results that may reach too short; the time is that of listing the store, and
    proportional to the stages.

    Args:
        plan: of the study.
        todo: its runs without a current record.
        workspace: whose store and rates are looked at.
        hardware: on which stages are computed.
        rates: of the workspace, where they have been read already.
        searches: of the study: their trials that are still to be made; what those find is in no plan yet.
        begin: the start, of a study that has begun; None where it would begin now.
    """
    rates = rates or Rates.read(workspace)
    begin = begin or Start.now(workspace, hardware.executor)
    stock, prices = _Stock(workspace.store(), plan), _Prices(plan, todo, hardware, rates, begin)
    lines: dict[str, Line] = {kind: Line(kind) for kind in plan.count()} if todo else {}
    by_stage: dict[str, float] = {}
    alike: dict[tuple[Work, FeatureStage | None], list[Stage]] = {}  # by all that the cost of a stage depends on
    for stage, is_there in stock.wanted(todo).items():
        line = lines.setdefault(stage.kind, Line(stage.kind))
        if isinstance(stage, FeatureStage):
            by_stage |= _add_features(line, stage, stock, plan, prices)
        elif is_there:
            line.n_there += 1
        else:
            alike.setdefault((work_of(stage, plan), passed_by(stage, plan)), []).append(stage)
    for (work, passed), stages in alike.items():
        cost = prices.of(work, passed)
        lines[work.kind].add(cost, len(stages), len(stages))
        by_stage |= dict.fromkeys((stage.key for stage in stages), cost.seconds or 0.0)
    if n_trials := sum(map(n_left, searches)):
        lines[TRIALS], work = Line(TRIALS), trials(plan.spec.study, n_trials)
        lines[TRIALS].add(_trials_cost(work, searches, plan, prices, stock, by_stage), n_trials)
    driver = tuple(prices.line_of(work) for work in phases(plan, todo, begin))
    shown = tuple(line for line in lines.values() if line.n_todo or line.n_there)
    return Estimate(hardware, shown, driver, by_stage)


class _Prices:
    """What work of a plan is expected to cost."""

    def __init__(self, plan: Plan, todo: Iterable[Run], hardware: Hardware, rates: Rates, begin: Start) -> None:
        """By rates of this hardware, beside what a process holds since its start.

        That is what was measured of one here, else what its libraries typically hold. Who computes for a cluster
        holds less than who drives it, of whom alone the start is measured.
        """
        methods = {run.variant.method.name: run.variant.method for run in todo}.values()
        start = begin.work(methods)
        held = rates.expect(start, hardware).peak_bytes or start.held_bytes or 0.0
        self._plan, self._hardware, self._rates = plan, hardware, rates
        self._driver_bytes = held + USED
        self._bytes = self._driver_bytes if hardware.executor == "local" else worker_bytes(methods) + USED

    def of(self, work: Work, passed: FeatureStage | None = None) -> Cost:
        """Of a stage, with the features that pass the backbone whenever it reads them."""
        cost = self._rates.expect(work, self._hardware).beside(self._bytes, work.held_bytes)
        if passed is None or cost.basis == "measured":
            return cost
        passing = self._rates.expect(work_of(passed, self._plan), self._hardware)
        return cost.after(passing, READS.get(work.kind, 1))

    def line_of(self, work: Work) -> Line:
        """The line of a phase of the driver."""
        line, base = Line(work.kind), 0.0 if work.kind == START else self._driver_bytes
        line.add(self._rates.expect(work, self._hardware).beside(base, work.held_bytes), 1)
        return line


def _add_features(line: Line, stage: FeatureStage, stock: _Stock, plan: Plan, prices: _Prices) -> dict[str, float]:
    """Add the images of a part that have no features yet; seconds by the stage's key, where some have none.

    The time of features that are not kept is that of the steps that read them.
    """
    if not is_kept(stage, plan.spec.features.keep):
        return {}
    images = stock.claim(stage)
    line.n_there += images.n_there
    if not images.n_missing:
        return {}
    cost = prices.of(work_of(stage, plan).share(images.n_missing / len(stage.part)))
    line.add(cost, images.n_missing)
    return {stage.key: cost.seconds or 0.0}


def _trials_cost(
    work: Work,
    searches: Sequence[SearchState],
    plan: Plan,
    prices: _Prices,
    stock: _Stock,
    planned: Collection[str],
) -> Cost:
    """What trials are expected to cost, beside what the plan's own runs take.

    Where none was made yet that is a row in MLflow for each, and the stages of the middle of every space, so often as
    the space asks for them.
    """
    known = prices.of(work)
    if known.basis != "unknown":
        return known
    n_trials = sum(map(n_left, searches))
    found, seen = prices.of(Work(TRACKING, "trials", n_trials)), set(planned)
    for state in searches:
        stages = tried(state, n_left(state))
        unkept = passing(stages, plan.spec.features.keep)
        for stage, times in stages.items():
            if not stage.result_keys or stage.key in unkept:
                continue
            is_known = stage.key in seen or stock.has(stage)
            seen.add(stage.key)
            cost = prices.of(work_of(stage, plan), passed_by(stage, plan))
            found = found.plus(cost, times - 1 if is_known else times)
    return found


@dataclass(frozen=True, slots=True)
class Images:
    """How many images the store lacks, and how many it has."""

    n_missing: int
    n_there: int


class _Stock:
    """What the store has of a plan."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._plan = plan
        self._keys: dict[str, set[str]] = {}
        self._claimed: set[str] = set()

    def wanted(self, runs: Iterable[Run]) -> dict[Stage, bool]:
        """Every stage that runs are recorded from, and what those lack that are not there; each once, inputs first.

        With whether it is there; of features nobody has looked.
        """
        from adloc.record.recorder import needed

        found: dict[Stage, bool] = {}
        seen: set[Stage] = set()  # by identity: most stages of a run are those of the run before
        known: set[str] = set()
        bases = self._plan.bases

        def look(stage: Stage) -> None:
            seen.add(stage)
            if stage.key in known or not stage.result_keys:
                return
            known.add(stage.key)
            is_there = self.has(stage)
            if not is_there:
                for before in stage.inputs:
                    if before not in seen:
                        look(before)
                if stage.key in bases:
                    look(bases[stage.key])
            found[stage] = is_there

        for run in runs:
            for stage in needed(run):
                if stage not in seen:
                    look(stage)
        return found

    def has(self, stage: Stage) -> bool:
        """Whether the store has a stage as far as the plan needs it; for features, kept by image, see `claim`."""
        if stage.is_by_image or stage.key not in self._of(stage.kind):
            return False
        extent = self._plan.extents.get(stage.key)
        if extent is None and not isinstance(stage, EvaluationStage):
            return True
        kept = self._store.peek(stage.kind, stage.key)
        if kept is None:  # elsewhere: taken to be enough
            return True
        if isinstance(stage, EvaluationStage):
            return stage.is_measured(kept.facts)
        return float(kept.facts.get("extent", 0.0)) >= (extent or 0.0)

    def claim(self, stage: FeatureStage) -> Images:
        """The images of a features stage that no stage before it has claimed.

        All that are there are taken to have the layers that the first one of them has.
        """
        new = set(stage.image_keys) - self._claimed
        self._claimed |= new
        there = new & self._of(stage.kind)
        layers = set(self._plan.layers.get(stage.source, stage.layers))
        first = self._store.peek(stage.kind, min(there)) if there else None
        n_there = len(there) if first is None or first.arrays >= layers else 0
        return Images(len(new) - n_there, n_there)

    def _of(self, kind: str) -> set[str]:
        if kind not in self._keys:
            self._keys[kind] = self._store.keys(kind)
        return self._keys[kind]
