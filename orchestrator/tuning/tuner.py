"""The loop of a search: suggest, try on the validation part, record, tell."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError

from adloc.datasets.errors import DatasetError
from adloc.errors import StageFailedError, StageMismatchError, UserError
from adloc.methods import MethodError, find_method
from adloc.metrics.registry import METRICS
from adloc.tuning.best import Best
from adloc.tuning.trial import mean_figures, try_category
from adloc.tuning.trial_records import TrialRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from adloc.study_file.variants import Variant
    from adloc.tuning.search import Search
    from adloc.tuning.suggestions import Suggestions
    from adloc.tuning.trial import Reach, TrialBench
    from adloc.tuning.trial_records import TrialRecords
    from adloc.tuning.trial_stages import TrialStages


class TrialReporter(Protocol):
    """Hears of trials."""

    def search_started(self, search: Search, records: Sequence[TrialRecord]) -> None:
        """The search goes on from these trials."""

    def trial_done(self, search: Search, record: TrialRecord, best: Sequence[TrialRecord]) -> None:
        """A trial was recorded; `best` are the best so far."""


class Tuner:
    """Runs one search to its end. It is given train and validation parts alone, inside `stages`."""

    def __init__(
        self,
        search: Search,
        stages: TrialStages,
        bench: TrialBench,
        reach: Reach,
        records: TrialRecords,
        mapping: Callable[..., Iterator[TrialRecord]] = map,
    ) -> None:
        """Prepare; nothing is suggested yet. `mapping` tries the trials of a wave: like map, or several at a time."""
        self._search = search
        self._stages = stages
        self._bench = bench
        self._reach = reach
        self._records = records
        self._map = mapping
        self._best = Best(search.is_feasible, search.gains)

    def run(
        self, suggestions: Suggestions, track: Callable[[TrialRecord], str], reporter: TrialReporter
    ) -> list[TrialRecord]:
        """Every record of the search, once it is done.

        Args:
            suggestions: the Optuna study.
            track: shows a record in MLflow and returns the run's id.
            reporter: hears of every trial.
        """
        wave, trials = self._search.config.wave, self._search.config.trials
        records = self._records.all()[:trials]
        suggestions.catch_up(records, track)
        reporter.search_started(self._search, records)
        for number, record in enumerate(records):
            if record.transient:
                best = self._best.of(records[: number // wave * wave])
                records[number] = self._try((number, record.params), best)
                self._keep(records, number, suggestions, track, reporter)
        while not self._search.is_done(records):
            # A wave begins at a multiple of its length, also when the one before was stopped in its middle.
            begun = len(records) // wave * wave
            before = tuple(records[:begun])
            settings = [record.params for record in records[begun:]]
            for number in range(len(records), min(begun + wave, trials)):
                settings.append(suggestions.ask(number, before, settings))
            asked = list(enumerate(settings, begun))[len(records) - begun :]
            for record in self._map(partial(self._try, best=self._best.of(before)), asked):
                records.append(record)
                self._keep(records, record.number, suggestions, track, reporter)
        return records

    def _keep(
        self,
        records: Sequence[TrialRecord],
        number: int,
        suggestions: Suggestions,
        track: Callable[[TrialRecord], str],
        reporter: TrialReporter,
    ) -> None:
        """Write a trial's record, then tell everybody."""
        record = records[number]
        self._records.write(record)
        suggestions.tell(record, track(record))
        reporter.trial_done(self._search, record, self._best.of(records))

    def _try(self, asked: tuple[int, Mapping[str, object]], best: Sequence[TrialRecord]) -> TrialRecord:
        """One trial; what a setting cannot do is recorded, and the search goes on.

        Args:
            asked: number and values.
            best: of the waves before: what this one is, must not depend on how far its neighbours are.
        """
        number, values = asked
        started = datetime.now(UTC)
        categories: dict[str, dict[str, float | None]] = {}
        variant, state, error, transient = None, "complete", None, False
        try:
            variant = self._search.variant(values)
            for category, figures in self._figures(variant):
                categories[category] = figures
                self._check_defined(category, figures)
                if self._is_hopeless(categories, best):
                    state = "pruned"
                    break
        except StageMismatchError:
            raise  # a bug that would show test images to a trial: nothing may go on
        except ValidationError as refused:
            state, error = "failed", str(refused.errors()[0]["msg"])
        except MethodError as refused:
            state, error = "failed", str(refused)
        except StageFailedError as failed:
            state, error, transient = "failed", str(failed), not failed.refused
        except (UserError, DatasetError) as failed:
            state, error, transient = "failed", str(failed), True
        except Exception:  # noqa: BLE001  # the one boundary where a trial's failure is recorded, with its traceback
            state, error, transient = "failed", traceback.format_exc(), True
        return TrialRecord.model_validate(
            {
                "study": self._search.study,
                "search": self._search.name,
                "method": find_method(self._search.entry.method).name,
                "revision": self._records.revision,
                "number": number,
                "repeat": self._search.repeat,
                "category": self._search.category,
                "state": state,
                "params": dict(values),
                "hyperparameters": variant.hyperparameters() if variant else dict(values),
                "figures": mean_figures(categories) if categories and state != "failed" else {},
                "categories": categories,
                "started": started.isoformat(timespec="seconds"),
                "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
                "error": error,
                "transient": transient,
            }
        )

    def _figures(self, variant: Variant) -> Iterator[tuple[str, dict[str, float | None]]]:
        for category in self._stages.calibration:
            yield category, try_category(self._stages, variant, category, self._bench, self._reach)

    def _check_defined(self, category: str, figures: Mapping[str, float | None]) -> None:
        missing = [name for name in self._search.config.objectives if figures.get(name) is None]
        if missing:
            rule = f"{missing[0]} is not defined on the validation part of {category}"
            raise MethodError(rule, "tuning needs normal and anomalous images there", "raise split.validation_defects")

    def _is_hopeless(self, seen: Mapping[str, Mapping[str, float | None]], best: Sequence[TrialRecord]) -> bool:
        """Whether even a perfect figure in every category to come would not be better than the best so far.

        So a trial that could have won is never stopped, whatever the order of the categories.
        """
        config = self._search.config
        if not config.prune or len(config.objectives) > 1 or not best or len(seen) == len(self._stages.calibration):
            return False
        name = config.objectives[0]
        metric = METRICS[name]
        perfect = metric.high if metric.better == "higher" else metric.low
        total = sum(figures[name] or 0.0 for figures in seen.values())
        n_categories = len(self._stages.calibration)
        bound = (total + perfect * (n_categories - len(seen))) / n_categories
        reached = best[0].figures[name] or 0.0
        return bound <= reached if metric.better == "higher" else bound >= reached
