"""Which record is which MLflow run: a small file beside the records, so that a finished study needs no MLflow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypedDict

from adloc.datasets.checked import from_checked, to_checked
from adloc.keys import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from adloc.answer.results import Row
    from adloc.record.records import RunRecord
    from adloc.tracking.place import Place
    from adloc.tuning.trial_records import TrialRecord


class Tracked(TypedDict):
    """An MLflow run and the key of the record that it shows."""

    mlflow_run_id: str
    key: str


class TrackedModel(TypedDict):
    """An MLflow logged model and the key of the record that it is of; "" while it is being logged."""

    model_id: str
    key: str


class TrackingIndex:
    """The index of one study. Losing the file costs a search by tags, and what it named is logged again.

    Attributes:
        location: of the experiment's artifacts; it differs from today's when the workspace was moved.
        parent: id of the parent run; "" before there is one.
        ended: the end state that the parent run was given; "" while a study runs.
        runs: by the name of the run.
        models: by the id of the run that each is of.
        views: where the UI, behind its address, shows the study's tables, by name.
    """

    def __init__(self, path: Path) -> None:
        """Read the file; without one, start empty."""
        self._path = path
        self.location = self.parent = self.ended = ""
        self.runs: dict[str, Tracked] = {}
        self.models: dict[str, TrackedModel] = {}
        self.views: dict[str, str] = {}
        try:
            content = json.loads(from_checked(path.read_bytes()))
            self.location, self.parent, self.ended = (str(content[k]) for k in ("location", "parent", "ended"))
            self.runs = {
                str(name): {"mlflow_run_id": entry["mlflow_run_id"], "key": entry["key"]}
                for name, entry in content["runs"].items()
            }
            self.models = {
                str(run_id): {"model_id": entry["model_id"], "key": entry["key"]}
                for run_id, entry in content.get("models", {}).items()  # none before models were logged
            }
            self.views = {str(name): str(link) for name, link in content.get("views", {}).items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            self.clear()

    def clear(self) -> None:
        """Forget everything; the file stays until it is saved."""
        self.location = self.parent = self.ended = ""
        self.runs = {}
        self.models = {}
        self.views = {}

    def has(self, name: str, key: str) -> bool:
        """Whether MLflow shows this very record under this name."""
        return name in self.runs and self.runs[name]["key"] == key

    def has_models(self, expected: Mapping[str, str]) -> bool:
        """Whether MLflow shows the models of these records and no others.

        Args:
            expected: key of the record by id of the run.
        """
        return {run_id: entry["key"] for run_id, entry in self.models.items()} == expected

    def is_complete(self, location: str, expected: Mapping[str, str]) -> bool:
        """Whether MLflow has all of these runs and the study has ended, at today's location.

        Args:
            location: where artifacts belong.
            expected: key by name of the run.
        """
        here = self.location == location and self.ended == "FINISHED"
        return here and all(self.has(name, key) for name, key in expected.items())

    def save(self) -> None:
        """Write it, whole or not at all; without waiting for the disk, for it can be made again."""
        content = {
            "location": self.location,
            "parent": self.parent,
            "ended": self.ended,
            "runs": self.runs,
            "models": self.models,
            "views": self.views,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_name(f".{self._path.name}.tmp")
        aside.write_text(to_checked(content), encoding="utf-8")
        aside.replace(self._path)


def record_key(record: RunRecord) -> str:
    """Changes with every record of a run that differs."""
    return f"{record.key}-{record.status}-{record.started}"


def trial_key(record: TrialRecord) -> str:
    """Changes with everything that a trial found."""
    return content_key([record.model_dump(mode="json")])


def macro_key(row: Row) -> str:
    """Changes with every figure of a macro row."""
    return content_key([{k: repr(v) for k, v in row.items()}])


def views_at(place: Place, study: str) -> dict[str, str]:
    """Links to a study's tables on a server, by name; the workspace's own database is served by `adloc ui`."""
    views = TrackingIndex(place.index_path(study)).views if place.server else {}
    return {name: f"{place.address}{link}" for name, link in views.items()}
