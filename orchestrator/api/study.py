"""The verbs of `adloc study` and `adloc data` as methods of a study."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Self

from adloc.api import running
from adloc.api.asked import computing, output_path, path_of, require_count, require_share, user_errors
from adloc.api.checked import Checked
from adloc.api.opened import Opened
from adloc.api.planned import Planned
from adloc.api.reported import Reported
from adloc.errors import Complaint, UserError
from adloc.executors.on_demand import OnDemand
from adloc.kept.study import as_study
from adloc.printed import printable
from adloc.progress.lines import plain_console
from adloc.progress.study import Progress
from adloc.study import check_data
from adloc.study_file.validation import load_study
from adloc.tracking.place import Place as TrackingPlace

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from adloc.api.asked import Device, Executor, Place
    from adloc.api.explained import Explained
    from adloc.api.model import Model
    from adloc.model.engines import EngineChoice
    from adloc.sealing.seal import Seal
    from adloc.verify.found import Verification


class Study(Opened):
    """A study: `Study.load` of a file, `Study.named` of what a workspace has recorded.

    Each verb looks at the file, its images and the records anew, as the command line does.
    """

    @user_errors
    def plan(self, *, jobs: int | None = None, device: Device = "auto") -> Planned:
        """The runs that the study expands into, the stages that they share and what they will cost; computes nothing.

        Weights need not be there yet.

        Args:
            jobs: CPU threads to expect; default all cores.
            device: to expect.
        """
        from adloc.expected import expect

        return Planned(expect(self._prepare(may_lack_weights=True), computing("local", device, jobs, None)))

    @user_errors
    def run(
        self,
        *,
        executor: Executor = "local",
        jobs: int | None = None,
        device: Device = "auto",
        batch_size: int | None = None,
        fresh: bool = False,
        new_revision: bool = False,
        storage: str | None = None,
        tracking_uri: str | None = None,
        quiet: bool = False,
    ) -> Self:
        """Run the study and return it: what has a record is not computed again, so an interrupted study goes on.

        A run that fails does not stop the others: `outcome` counts them, `status` says why.

        Args:
            executor: where stages are computed: in this process, or on the Ray cluster of $RAY_ADDRESS, else one here.
            jobs: local: CPU threads, default all cores. ray: stages at a time.
            device: for the computation.
            batch_size: images a backbone pass; figures do not depend on it.
            fresh: compute everything again; earlier records are set aside.
            new_revision: tune again beside the old trials where the search has changed.
            storage: Optuna's database: $ADLOC_OPTUNA_STORAGE, else a journal in the workspace.
            tracking_uri: MLflow server that shows the study: $MLFLOW_TRACKING_URI, else the workspace's own database.
            quiet: print no lines of progress.

        Raises:
            UserError: the file or its data is wrong, and nothing was run.
        """
        asked = computing(executor, device, jobs, batch_size)
        place = TrackingPlace.find(self._place, tracking_uri)
        lines = plain_console(quiet=quiet)
        self.outcome = running.run(
            self._prepare(download=True), asked, place, lines, fresh=fresh, new_revision=new_revision, storage=storage
        )
        return self

    @user_errors
    def tune(
        self,
        *,
        executor: Executor = "local",
        jobs: int | None = None,
        device: Device = "auto",
        batch_size: int | None = None,
        fresh: bool = False,
        new_revision: bool = False,
        storage: str | None = None,
        tracking_uri: str | None = None,
        quiet: bool = False,
    ) -> pd.DataFrame:
        """Run the study's searches alone, on train and validation parts; `run` does so first. Options as there.

        Returns:
            A row a trial: search, trial, state, params.<name>, figures of the validation part, seconds, error.

        Raises:
            UserError: the study tunes nothing, or what is searched has changed since the trials were made.
        """
        asked = computing(executor, device, jobs, batch_size)
        place = TrackingPlace.find(self._place, tracking_uri)
        lines = plain_console(quiet=quiet)
        return running.tune(
            self._prepare(download=True), asked, place, lines, fresh=fresh, new_revision=new_revision, storage=storage
        )

    @user_errors
    def verify(
        self, *, runs: int = 3, seed: int = 0, jobs: int | None = None, device: Device = "auto", quiet: bool = False
    ) -> Verification:
        """Compute some recorded runs again in a scratch folder and compare them bit by bit; see `adloc study verify`.

        Args:
            runs: how many, drawn at random; or all there are.
            seed: of the draw.
            jobs: CPU threads, default all cores.
            device: for the computation.
            quiet: print no lines of progress.

        Raises:
            UserError: no run is recorded, or fewer than one is asked for.
        """
        from adloc.verify.verification import verify_study

        require_count("runs", runs)
        asked, lines = computing("local", device, jobs, None), plain_console(quiet=quiet)
        with OnDemand(asked) as computes, Progress(console=lines) as progress:
            return verify_study(self.file, self._overrides, self._place, computes, progress, n_runs=runs, seed=seed)

    @user_errors
    def report(self, *, output: Place | None = None) -> Reported:
        """Write the report of what is recorded so far, one HTML file; a path, which a notebook shows with its figures.

        Args:
            output: the page; default: report.html in the study's folder of the workspace.
        """
        from adloc.report.page import write_report

        path, study = output_path(output), as_study(self._prepared_or_kept(), self._place)
        written = write_report(study, path, force=True)
        kept_back = "" if path is not None else study.workspace.offer(self.name)
        for sentence in map(printable, (*written.damaged, *filter(None, [kept_back]))):
            warnings.warn(sentence, stacklevel=3)  # at the caller's line: between it and this there is `user_errors`
        return Reported(written.page, written.figures, written.tables, written.key_figures)

    @user_errors
    def track(self, *, tracking_uri: str | None = None) -> dict[str, Any]:
        """Bring MLflow up to date from the records alone; its address, how many runs it shows, and links to its tables.

        Args:
            tracking_uri: see `run`.
        """
        from adloc.tracking.index import views_at
        from adloc.tracking.track import track_study

        place = TrackingPlace.find(self._place, tracking_uri)
        n_shown = track_study(load_study(self.file, self._overrides)[1], place, self.file)
        return {"tracking_uri": place.address, "shown": n_shown, "views": views_at(place, self.name)}

    @user_errors
    def seal(self, *, output: Place | None = None) -> Seal:
        """Seal the plan before it is run: study file, runs and images, hashed.

        Args:
            output: a copy of the seal, for a reviewer.
        """
        from datetime import UTC, datetime

        from adloc.sealing.ledger import seal_study
        from adloc.sealing.seal import write_seal

        path, study = output_path(output), self._prepare()
        sealed = seal_study(study.plan, study.workspace, datetime.now(UTC), study.records.count_figures())
        if path is not None:
            write_seal(path, sealed)
        return sealed

    @user_errors
    def explain(self, *run_ids: str, device: Device = "auto") -> list[Explained]:
        """Why runs miss defects and which of their training images are suspicious; pictures are shown in a notebook.

        Args:
            run_ids: of recorded runs; default: the leads.
            device: for the computation.
        """
        return running.explain(self._prepare(), run_ids, computing("local", device, None, None))

    @user_errors
    def export(
        self,
        run_id: str | None = None,
        *,
        best: str | None = None,
        category: str | None = None,
        output: Place | None = None,
        with_backbone: bool = False,
        engine: EngineChoice | None = None,
        device: Device = "auto",
    ) -> Model:
        """Export a recorded run's model to a folder, proved on every validation image; see `adloc model export`.

        Args:
            run_id: of the run; else the best setting's, whose category is asked for where there are several.
            best: metric of the validation part that the best setting is chosen by; without it the study's own choice.
            category: of the best setting's model.
            output: the folder, new or empty; default: in the study's folder of the workspace.
            with_backbone: put the backbone's weights into the folder, else their hash alone.
            engine: runs the backbone on a CPU: "torch", "onnx", "openvino" or "fastest"; default: the study's own.
            device: for the computation.

        Raises:
            UserError: there is no such run, several are the best setting's, or the folder is there already.
        """
        if run_id is not None and (best or category):
            raise UserError(
                Complaint(
                    "best and category choose a run, and run_id names one", "a run is named or chosen", "give one"
                )
            )
        asked = computing("local", device, None, None)
        chosen = running.Chosen(run_id, best, category)
        path = output_path(output)
        return running.export(self._prepare(), chosen, asked, path, with_backbone=with_backbone, engine=engine)

    @user_errors
    def export_private(
        self, run_id: str, output: Place, *, pixel_fpr: float = 0.001, device: Device = "auto"
    ) -> pd.DataFrame:
        """Score MVTec AD 2's private test images for its benchmark server; see `adloc study export-private`.

        Args:
            run_id: of a run of any category; the others of its setting follow.
            output: folder of the submission; new, or empty.
            pixel_fpr: share of the normal validation pixels that the pixel threshold flags, at most.
            device: for the computation.

        Returns:
            A row a category: category, run_id, n_images, threshold.
        """
        require_share("pixel_fpr", pixel_fpr)
        path, asked = path_of(output), computing("local", device, None, None)
        return running.export_private(self._prepare(), run_id, asked, path, pixel_fpr)

    @user_errors
    def check_data(self) -> Checked:
        """Read every image, name what is broken or missing, and count images per part; see `adloc data check`."""
        return Checked(check_data(self.file, self._overrides, self._place))

    @user_errors
    def preview(self, *, output: Place | None = None, images: int = 6) -> Image:
        """A contact sheet of the study's images with their masks, clean and shifted; see `adloc data preview`.

        Args:
            output: the sheet; default: preview.png in the study's folder.
            images: of each category.
        """
        from adloc.preview import preview_sheet

        path = output_path(output) or self._place.study_path(self.name) / "preview.png"
        checked = check_data(self.file, self._overrides, self._place)
        if checked.plan is None:
            raise UserError(*checked.errors)
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet = preview_sheet(checked.plan, images)
        sheet.save(path)
        return sheet
