"""What is known of a run beyond its figures, and where it is kept.

An explanation is a folder, `explained/<run_id>/` in the study's folder: explanation.json, and pictures. It is written
aside and renamed, and its key changes with the run's: one that fits is never made again.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from adloc.datasets.checked import DamagedError
from adloc.keys import content_key
from adloc.record.files import draft_path, empty_draft, read_checked, sync_files, write_checked
from adloc.record.records import EXPLAINED

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.plan import Run
    from adloc.study_file.explaining import ExplainConfig

VERSION = 1  # raised when an explanation looks different for the same run: it is made anew


class TrainingImage(BaseModel):
    """A training image that is far from the others.

    Attributes:
        name: identity.
        score: leave-one-out: by the model without this image.
        robust_z: how far the score is from the median of all training images, in standard deviations as estimated
            by 1.4826 times the median absolute deviation; None where that is 0.
        share_above: share of the normal validation images that score higher; None without one.
        defect: whether the study put it among the training images as a defect (`train.contamination`).
        picture: its file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    score: float
    robust_z: float | None
    share_above: float | None
    defect: bool
    picture: str


class Training(BaseModel):
    """The training images as the model without each of them sees it.

    Attributes:
        n_images: that were ranked.
        n_outstanding: of them with a robust z of at least `suspicious.OUTSTANDING`.
        n_defects: of them that are defects by the study's own doing.
        defects_auroc: of the score against those; None without any.
        images: the furthest first.
        reason: why there are none; "" where there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_images: int = 0
    n_outstanding: int = 0
    n_defects: int = 0
    defects_auroc: float | None = None
    images: tuple[TrainingImage, ...] = ()
    reason: str = ""


class Defect(BaseModel):
    """An anomalous test image.

    Attributes:
        name: identity.
        defect: its type.
        missed: whether it scored below the threshold; None where none was calibrated.
        size: share of the image's pixels in the mask, at the evaluation size; None without a mask there.
        contrast: see `adloc.explain.defects.contrast`; None without a mask or a ring around it.
        vanished: whether its mask has pixels, and none at the evaluation size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    defect: str
    missed: bool | None
    size: float | None
    contrast: float | None
    vanished: bool


class MissedDefect(BaseModel):
    """A missed defect beside the training patch that its highest-scoring patch is nearest to.

    Attributes:
        name: identity.
        score: of the image.
        margin: score less threshold, in standard deviations of the run's test scores.
        nearest: identity of the training image.
        distance: between the two patches; see `Missed.meaning`.
        picture: its file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    score: float
    margin: float
    nearest: str
    distance: float
    picture: str


class Missed(BaseModel):
    """The missed defects, those furthest below the threshold first.

    Attributes:
        defects: with pictures.
        meaning: what their distance is.
        reason: why there are none; "" where there are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    defects: tuple[MissedDefect, ...] = ()
    meaning: str = ""
    reason: str = ""


class MovedMasks(BaseModel):
    """Pixel metrics against masks that another annotator might have drawn.

    Attributes:
        pixels: by which the masks grew; negative where they shrank, 0 as annotated.
        pixel_auroc: against them; None where not defined.
        pixel_aupro: PRO up to 0.3.
        pixel_aupro_005: PRO up to 0.05.
        n_regions: left.
        n_lost: regions eroded to nothing.
        lost: identities of their images.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixels: int
    pixel_auroc: float | None
    pixel_aupro: float | None
    pixel_aupro_005: float | None
    n_regions: int
    n_lost: int
    lost: tuple[str, ...]


class Explanation(BaseModel):
    """What is known of one run.

    Attributes:
        format: of this file.
        key: see `explanation_key`.
        run_id: of the run.
        threshold: of the run.
        training: its suspicious images.
        defects: every anomalous test image; empty where it was not asked.
        missed: those below the threshold, with pictures.
        mask_noise: the masks as annotated first; empty where it was not asked.
        seconds: wall time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    key: str
    run_id: str
    threshold: float | None
    training: Training = Training()
    defects: tuple[Defect, ...] = ()
    missed: Missed = Missed()
    mask_noise: tuple[MovedMasks, ...] = ()
    seconds: float


def explanation_key(run: Run, config: ExplainConfig) -> str:
    """Identity of what is told of a run: changes with its result, with what is asked and with its images' names."""
    names = [sample.identity for sample in run.train_part.samples]
    return content_key(["explanation", VERSION, run.key, names, config.model_dump(mode="json")])


class Explanations:
    """The explanations of one study, on disk."""

    def __init__(self, study_path: Path) -> None:
        """Keep them under the study's folder of the workspace."""
        self._root = study_path / EXPLAINED

    def path(self, run_id: str) -> Path:
        """Folder of a run's explanation."""
        return self._root / run_id

    def run_ids(self) -> set[str]:
        """The runs that have had one, of whatever version of the study file."""
        return {path.name for path in self._root.iterdir()} if self._root.exists() else set()

    def get(self, run: Run, config: ExplainConfig) -> Explanation | None:
        """The explanation of the run as it stands today, or None."""
        try:
            found = Explanation.model_validate_json(read_checked(self.path(run.run_id) / "explanation.json"))
        except (FileNotFoundError, ValidationError, DamagedError):
            return None
        return found if found.key == explanation_key(run, config) else None

    def draft(self, run_id: str) -> Path:
        """An empty folder to fill with pictures; `write` makes it the explanation."""
        return empty_draft(self._root, run_id)

    def write(self, explanation: Explanation) -> None:
        """Put the draft in the place of what was there."""
        draft, path = draft_path(self._root, explanation.run_id), self.path(explanation.run_id)
        write_checked(draft / "explanation.json", explanation.model_dump(mode="json"))
        sync_files(draft)
        shutil.rmtree(path, ignore_errors=True)
        draft.rename(path)

    def clear(self) -> None:
        """Forget all of them."""
        shutil.rmtree(self._root, ignore_errors=True)
