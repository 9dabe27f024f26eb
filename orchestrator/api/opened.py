"""A study as an object: its file with overrides, a workspace, and what is read of the two without computing."""

from __future__ import annotations

import warnings
from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from adloc.answer.results import MACRO
from adloc.api.asked import as_overrides, output_path, path_of, user_errors
from adloc.api.compared import compare
from adloc.api.frames import averages, brief_frame, frame_of
from adloc.api.pictures import Heatmaps, arrays_of_run, recorded_heatmaps
from adloc.kept.study import answer_of, prepared_or_kept, read_study
from adloc.printed import printable
from adloc.record.records import Records
from adloc.status import Status, status_of
from adloc.study import prepare
from adloc.study_file.validation import load_study
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from adloc.api.asked import Overrides, Place
    from adloc.api.compared import Compared
    from adloc.kept.study import KeptStudy
    from adloc.run.runs import Outcome
    from adloc.study import Study


class Opened:
    """A study: `Study.load` of a file, `Study.named` of what a workspace has recorded.

    Each verb looks at the file, its images and the records anew, as the command line does.

    Attributes:
        name: of the study.
        file: the study file; of a named study the resolved one in the workspace.
        workspace: where everything is kept, a folder or a URL.
        outcome: how the last `run` ended; None before.
    """

    def __init__(self, file: Path, overrides: tuple[str, ...], workspace: Workspace, *, is_named: bool = False) -> None:
        """Read the file, and neither images nor weights."""
        _, spec = load_study(file, overrides)
        self.name, self.file, self.workspace = spec.study, file, workspace.location
        self.outcome: Outcome | None = None
        self._overrides, self._place, self._is_named = overrides, workspace, is_named

    @classmethod
    @user_errors
    def load(
        cls,
        file: Place,
        *,
        set: Overrides | Sequence[str] = (),  # noqa: A002  as the option is called
        workspace: Place | None = None,
    ) -> Self:
        """A study file, checked; its images are not looked at yet.

        Args:
            file: of the study.
            set: overrides by dotted key, `{"image.size": 128}`, or as `--set` has them, `["image.size=128"]`.
            workspace: where everything is kept, a folder or a URL: $ADLOC_WORKSPACE, else ./mlruns.

        Raises:
            UserError: with every mistake in the file.
        """
        return cls(path_of(file).expanduser(), as_overrides(set), _find_workspace(workspace))

    @classmethod
    @user_errors
    def named(cls, name: str, *, workspace: Place | None = None) -> Self:
        """A study that was run in the workspace, by its name.

        `results`, `leaderboard`, `status`, `compare`, `report` and the pictures of `heatmaps` come from its records,
        without its images, weights or overrides; all else takes the study file as it was resolved, and looks at the
        images. Of a study file whose images or weights are not there `results`, `leaderboard`, `status` and `report`
        do the same, with a warning.

        Raises:
            UserError: there is none of that name, or nothing of it is recorded yet.
        """
        place = _find_workspace(workspace)
        return cls(read_study(name, place).folder / "study.yaml", (), place, is_named=True)

    @classmethod
    @user_errors
    def init(
        cls, folder: Place, *, output: Place | None = None, force: bool = False, workspace: Place | None = None
    ) -> Self:
        """Look at a folder of images and write a study file that runs at once; see `adloc init`.

        Args:
            folder: of images.
            output: the study file; default: the folder's name with .yaml, here.
            force: write over a file that is there.
            workspace: see `load`.

        Raises:
            UserError: no images, none that can be taken as good, or a file that is there.
        """
        from adloc.init.first import first_study, free_place

        found = first_study(Path(folder))
        path = free_place(found, output_path(output), force=force)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.text, encoding="utf-8")
        return cls(path, (), _find_workspace(workspace))

    def __repr__(self) -> str:
        """What it is and where."""
        return f"Study({self.name!r}, file={str(self.file)!r}, workspace={self.workspace!r})"

    @property
    def folder(self) -> Path:
        """Of the study in its workspace, as it is there now: records, tables, report."""
        self._place.pull(self.name)
        return self._place.study_path(self.name)

    @user_errors
    def validate(self) -> dict[str, Any]:
        """The study file resolved, defaults included."""
        return load_study(self.file, self._overrides)[1].resolved()

    @user_errors
    def status(self) -> Status:
        """How many runs are done, failed and still to come."""
        return status_of(self._prepared_or_kept())

    @user_errors
    def results(self) -> pd.DataFrame:
        """One row a run, and a macro row for every average over categories; the columns of results.csv.

        Empty before anything is recorded.
        """
        return frame_of(answer_of(self._prepared_or_kept()).rows)

    @user_errors
    def leaderboard(self) -> pd.DataFrame:
        """The averages over categories in the main columns of `results`, in the order of the study file."""
        return brief_frame(averages(answer_of(self._prepared_or_kept()).rows))

    @user_errors
    def best(self, metric: str | None = None, *, category: str | None = None) -> pd.DataFrame:
        """The runs of the best setting, a row a category, the run_id first: chosen on the validation part alone.

        Args:
            metric: of the validation part, "image_auroc"; without it the study's own choice.
            category: this one alone.

        Raises:
            UserError: there is no such metric or category, or no setting is done.
        """
        rows = {row["run_id"]: row for row in answer_of(self._prepared_or_kept()).rows if row["category"] != MACRO}
        return brief_frame([rows[run_id] for run_id in self._best(metric, category)], ("run_id",))

    @user_errors
    def heatmaps(self, run_id: str | None = None) -> Heatmaps:
        """The pictures that a run's record keeps of its test images, with their raw maps, masks and images as arrays.

        Pictures come from the record; arrays, when they are first asked for, from the study's images and the store.

        Args:
            run_id: of a run; default: the first of `best`.

        Raises:
            UserError: there is no good record of the run, or it keeps no picture.
        """
        asked = run_id or self._best(None, None)[0]
        return recorded_heatmaps(asked, Records(self.folder), lambda: arrays_of_run(self._prepare(), asked))

    @user_errors
    def compare(self, other: Opened | Place) -> Compared:
        """What this study and another differ in: spec, data, environment, metrics, images judged another way.

        Args:
            other: a study, a study file, the folder or the name of a study, or a run_id.

        Raises:
            UserError: nothing is recorded of one of them.
        """
        there = other.folder if isinstance(other, Opened) else other
        return compare(self.folder, there, workspace=self.workspace)

    def _prepare(self, *, download: bool = False, may_lack_weights: bool = False) -> Study:
        return prepare(self.file, self._overrides, self._place, download=download, may_lack_weights=may_lack_weights)

    def _prepared_or_kept(self) -> Study | KeptStudy:
        """As it is recorded where it is named, or, which a warning says, where images or weights are not there."""
        if self._is_named:
            return read_study(self.name, self._place)
        return prepared_or_kept(
            self.file, self._overrides, self._place, lambda line: warnings.warn(printable(line), stacklevel=6)
        )

    def _best(self, metric: str | None, category: str | None) -> list[str]:
        from adloc.model.choosing import best_runs

        return [run.run_id for run in best_runs(self._prepare(), metric, category)]


def _find_workspace(given: Place | None) -> Workspace:
    return Workspace.find(None if given is None else fspath(given))
