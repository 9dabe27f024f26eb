"""How far the searches of a study are, from their records. Pure but for reading them; imports no torch, no optuna."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adloc.errors import Complaint
from adloc.planning.plan import walk
from adloc.tuning.search import Search, searches
from adloc.tuning.trial_records import TrialRecord, TrialRecords, differences
from adloc.tuning.trial_stages import TrialStages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from adloc.planning.calibration import Calibration
    from adloc.planning.stage_maker import StageMaker
    from adloc.planning.stages import Stage
    from adloc.study_file.spec import StudySpec
    from adloc.study_file.variants import Winner


@dataclass(frozen=True)
class SearchState:
    """One search and what it has found.

    Attributes:
        search: what is searched.
        stages: makes the stages of its trials.
        records: where they are.
        fingerprint: of what is searched today.
        changed: what is different from what the records are of.
        trials: of the present revision; none of a search that changed count.
    """

    search: Search
    stages: TrialStages
    records: TrialRecords
    fingerprint: Mapping[str, Any]
    changed: tuple[str, ...]
    trials: tuple[TrialRecord, ...]

    @property
    def is_done(self) -> bool:
        """Whether no further trial is begun, and none tried again."""
        return self.search.is_done(self.trials) and not any(trial.transient for trial in self.trials)

    def tried_stages(self) -> Iterator[Stage]:
        """What its trials had computed; one that several needed comes several times."""
        for trial in self.trials:
            if trial.state != "failed":
                variant = self.search.variant(trial.params)
                for category in trial.categories:
                    for last in (self.stages.evaluation(variant, category), self.stages.threshold(variant, category)):
                        yield from walk(last)

    @property
    def n_failed(self) -> int:
        """Trials that failed."""
        return sum(trial.state == "failed" for trial in self.trials)

    @property
    def outcome(self) -> str:
        """Why a search that is done has chosen nothing."""
        if self.n_failed == len(self.trials):
            return "every trial failed: the study has its untuned setting alone"
        return "no trial keeps the constraints: the study has its untuned setting alone"

    @property
    def winners(self) -> list[Winner]:
        """What the plan adds beside the default."""
        return self.search.winners(self.trials)

    def refusal(self) -> Complaint:
        """That the trials on disk are of another search, with every difference."""
        lines = "\n  ".join(self.changed)
        return Complaint(
            f"{self.search.study}: what {self.search.name} searches has changed since its trials were made\n  {lines}",
            "trials of different searches do not compare",
            "undo the change, or start again beside the old trials: adloc study run FILE --new-revision",
        )


def search_states(
    spec: StudySpec,
    categories: Sequence[str],
    parts: Callable[[int], Mapping[str, Calibration]],
    maker: StageMaker,
    study_path: Path,
) -> list[SearchState]:
    """Every search of a study, in the order in which they run.

    Args:
        spec: the study.
        categories: all of them.
        parts: train and validation parts of a repeat.
        maker: makes stages on them.
        study_path: the study's folder of the workspace.
    """
    found: list[SearchState] = []
    for search in searches(spec, categories):
        calibration = parts(search.repeat)
        stages = TrialStages(search, maker, calibration)
        fingerprint = json.loads(json.dumps(search.fingerprint(stages.calibration, stages.facts())))
        records = TrialRecords(study_path, search.name, fingerprint)
        known = records.fingerprint()
        changed = () if known is None else tuple(differences(known, fingerprint))
        # Of a search whose total was lowered the first ones count: what it finds hangs on no more than the file.
        trials = () if changed else tuple(records.all()[: search.config.trials])
        found.append(SearchState(search, stages, records, fingerprint, changed, trials))
    return found


def progress(states: Sequence[SearchState]) -> list[dict[str, object]]:
    """For people and programs: trials done and to do, and the best figures so far, by search."""
    rows: list[dict[str, object]] = []
    for state in states:
        best = state.search.best(state.trials)
        objectives = state.search.config.objectives
        rows.append(
            {
                "search": state.search.name,
                "trials": state.search.config.trials,
                "done": len(state.trials),
                "pruned": sum(t.state == "pruned" for t in state.trials),
                "failed": state.n_failed,
                "finished": state.is_done,
                "changed": list(state.changed),
                "default": {n: state.trials[0].figures.get(n) for n in objectives} if state.trials else None,
                "best": [{"trial": t.number, **{n: t.figures.get(n) for n in objectives}, "params": t.params}
                         for t in best],
            }
        )  # fmt: skip
    return rows
