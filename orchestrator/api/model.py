"""An exported model as an object: the verbs of `adloc predict` and `adloc model`."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from os import PathLike, fspath
from threading import Event
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from adloc.api.asked import Device, computing, output_path, path_of, require_choice, require_share, user_errors
from adloc.api.frames import frame_of
from adloc.api.pictures import Arrays, Heatmap, Heatmaps
from adloc.api.scoring import Asking
from adloc.errors import Complaint, UserError
from adloc.model.folder import read_model
from adloc.predict.monitoring import Level
from adloc.predict.request import Request, check_request, score_asked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd

    from adloc.api.asked import Place
    from adloc.api.scoring import Drawn
    from adloc.model.scorer import Scorer
    from adloc.model.selftest import Replayed
    from adloc.model.spec import ModelSpec
    from adloc.predict.calibrating import Calibrated
    from adloc.predict.scores import Watched

Promise = Literal["confident", "expected"]
MOST_PREVALENCE = 0.2


@user_errors
def load_model(path: Place) -> Model:
    """The model in a folder that `Study.export` or `adloc model export` wrote, read and found whole.

    Raises:
        UserError: it is none, of another version, or a file in it is missing, damaged or changed.
    """
    return Model(path_of(path))


class Model:
    """An exported model.

    Attributes:
        path: its folder.
        spec: what it is: method, parameters, preprocessing, thresholds.
    """

    @user_errors
    def __init__(self, path: Path) -> None:
        """Read and verify the folder; the network is loaded when images are scored."""
        self.path = path
        self._model = read_model(path)
        self._scorers: dict[Device, Scorer] = {}

    def __repr__(self) -> str:
        """What it is and where."""
        return f"Model({self.spec.method!r}, path={str(self.path)!r}, threshold={self.threshold})"

    @property
    def spec(self) -> ModelSpec:
        """What it is."""
        return self._model.spec

    @property
    def threshold(self) -> float | None:
        """An image is anomalous from this score upwards; None where none was calibrated."""
        return self.spec.threshold.image

    @user_errors
    def predict(
        self,
        images: Place | Iterable[Place],
        *,
        output: Place | None = None,
        threshold: float | None = None,
        fpr: float | None = None,
        heatmaps: Place | None = None,
        report: Place | None = None,
        monitor: bool = False,
        alpha: float = 0.01,
        prevalence: float = 0.01,
        device: Device = "auto",
        quiet: bool = False,
    ) -> pd.DataFrame:
        """Score images; a broken one is a row with its error. See `adloc predict`.

        Args:
            images: files, folders, which are searched through, and patterns such as "parts/**/*.png".
            output: a .csv, .jsonl or .parquet file of the rows, beside the data frame.
            threshold: anomalous from this score upwards; default: the model's own.
            fpr: a threshold that flags at most this share of good parts, by the model's normal reference images.
            heatmaps: a folder: of each image its anomaly map over it (.png) and raw (.tiff). See also `heatmaps`.
            report: an HTML page of the images by score, with a threshold to move.
            monitor: compare the images with the reference images, and say when to recalibrate or refit.
            alpha: of that watch: the largest probability of ever a false alarm.
            prevalence: of that watch: the largest share of defective parts that is no change.
            device: for the computation.
            quiet: print no lines.

        Returns:
            A row an image, in the order given: path, score, anomalous, threshold, error.

        Raises:
            UserError: an image that is named is not there, or something cannot be written.
        """
        request = Request(
            self.path,
            _named(images),
            _level(alpha, prevalence),
            output_path(output),
            output_path(heatmaps),
            output_path(report),
            threshold,
            fpr,
            monitor=monitor,
        )
        return frame_of(self._ask(request, device, quiet=quiet).rows)

    @user_errors
    def heatmaps(
        self,
        images: Place | Iterable[Place],
        *,
        threshold: float | None = None,
        fpr: float | None = None,
        device: Device = "auto",
    ) -> Heatmaps:
        """Of each image its anomaly map, as arrays and as a picture that a notebook shows; broken ones are left out.

        All are held in memory: some hundred images. Arguments are those of `predict`.

        Raises:
            UserError: the model's method does not say where a defect is.
        """
        from adloc.predict.overlays import check_maps

        check_maps(self.spec)
        request = Request(self.path, _named(images), Level(), threshold=threshold, fpr=fpr)
        asking = self._ask(request, device, quiet=True, draws=True)
        return Heatmaps(_heatmap(drawn, asking.threshold) for drawn in asking.drawn)

    @user_errors
    def check(self, *, device: Device = "auto") -> Replayed:
        """Replay the self-test: bit for bit where it was exported, within a tolerance elsewhere; `passed` tells."""
        from adloc.model.selftest import replay

        return replay(self._scorer(device))

    @user_errors
    def calibrate(
        self,
        images: Place | Iterable[Place],
        *,
        fpr: float | None = None,
        confidence: float = 0.95,
        promise: Promise = "confident",
        device: Device = "auto",
    ) -> Calibrated:
        """Set the threshold from new images of good parts alone, in the model's folder, and say what it promises.

        Args:
            images: as for `predict`.
            fpr: the largest share of good parts that may be flagged; without it none of these images is.
            confidence: with which the rate is kept.
            promise: whether it is kept with that confidence, or on the average of calibrations ("expected").
            device: for the computation.

        Raises:
            UserError: there are too few images, or a broken one; nothing is changed then.
        """
        from adloc.predict.calibrating import calibrate_on

        for name, value in (("confidence", confidence), *([] if fpr is None else [("fpr", fpr)])):
            require_share(name, value)
        require_choice("promise", promise, get_args(Promise))
        found = calibrate_on(self.path, _named(images), fpr, confidence, promise, computing_device(device))
        self._model = read_model(self.path)
        self._scorers.clear()
        return found

    @user_errors
    def drift(self, scores: Place | Iterable[float], *, alpha: float = 0.01, prevalence: float = 0.01) -> Watched:
        """Say from scores, in the order in which images came, whether the model still holds; see `adloc model drift`.

        Args:
            scores: themselves, or a file that `predict` wrote; `predict(monitor=True)` sees more.
            alpha: see `predict`.
            prevalence: see `predict`.

        Raises:
            UserError: there are none.
        """
        from adloc.predict.scores import read_scores, watch_scores

        known = read_scores(path_of(scores)) if isinstance(scores, str | PathLike) else [float(each) for each in scores]
        return watch_scores(self._model, known, _level(alpha, prevalence))

    def _ask(self, request: Request, device: Device, *, quiet: bool, draws: bool = False) -> Asking:
        check_request(request)
        asking = Asking(request, self._model, partial(self._scorer, device), quiet=quiet, draws=draws)
        with ExitStack() as files:
            score_asked(request, asking, Event(), files)
        return asking

    def _scorer(self, device: Device) -> Scorer:
        """Made once a device."""
        if device not in self._scorers:
            from adloc.computing.environment import pick_device
            from adloc.model.scorer import Scorer

            self._scorers[device] = Scorer(self._model, pick_device(computing_device(device)))
        return self._scorers[device]


def computing_device(device: Device) -> str:
    """The device, if there may be one of that name.

    Raises:
        UserError: there may not.
    """
    return computing("local", device, None, None).device


def _named(images: Place | Iterable[Place]) -> tuple[str, ...]:
    """As the command line is given them.

    Raises:
        UserError: the standard input is named, which a program reads itself.
    """
    names = (fspath(images),) if isinstance(images, str | PathLike) else tuple(fspath(each) for each in images)
    if "-" in names:
        raise UserError(
            Complaint("- is the standard input", "images are files, folders or patterns", "read it into a list")
        )
    return names


def _level(alpha: float, prevalence: float) -> Level:
    require_share("alpha", alpha)
    if not 0 <= prevalence <= MOST_PREVALENCE:
        rule = f"it must be at least 0 and at most {MOST_PREVALENCE}, a share of the parts"
        raise UserError(Complaint(f"prevalence is {prevalence}", rule, "use 0.01"))
    return Level(alpha, prevalence)


def _heatmap(drawn: Drawn, threshold: float | None) -> Heatmap:
    arrays = Arrays(drawn.image, np.asarray(drawn.anomaly_map, np.float32), None)
    return Heatmap(drawn.name, drawn.score, threshold, None, drawn.png, lambda: arrays)
