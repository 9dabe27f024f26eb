"""The seam between a method and the rest: arrays in, arrays out; no files, splits or labels.

Notation: N images, C channels, H x W a feature map's height and width, P patches, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from pydantic import BaseModel

    Arrays = Mapping[str, NDArray[Any]]  # of whatever type each name stands for
    Facts = Mapping[str, str | int | float | bool]


Made = TypeVar("Made")

PATCH_MAPS = "patch_maps"  # in the last step's result of a method that says where a defect is


class Features(Protocol):
    """The backbone features of N images, read from wherever they are kept, in a fixed order."""

    @property
    def n_images(self) -> int:
        """N."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the backbone's input."""
        ...

    def batches(self, layers: Sequence[str], batch_size: int = 32) -> Iterator[dict[str, torch.Tensor]]:
        """Yield {layer: float32 (n, C, H, W)} for consecutive images, n <= batch_size, on the CPU."""
        ...


class Images(Protocol):
    """N images of a part at the input size, in a fixed order; no paths, no labels."""

    @property
    def n_images(self) -> int:
        """N."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width)."""
        ...

    def read(self, indices: Sequence[int]) -> torch.Tensor:
        """Return these images as float32 (n, 3, height, width) in [0, 1], contiguous, on the CPU."""
        ...

    def batches(self, batch_size: int = 32) -> Iterator[torch.Tensor]:
        """Yield consecutive images as `read` gives them, n <= batch_size."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What a step leaves behind; kept by the store as it is.

    Attributes:
        arrays: named arrays (memory-mapped, read-only, when they come from the store).
        facts: small named values.
        seconds: wall time of the step, filled in by whoever ran it.
    """

    arrays: Arrays
    facts: Facts = field(default_factory=dict)
    seconds: float = 0.0


def unheard(done: int, total: int) -> None:
    """Take note of progress, and say nothing."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """All that a step on backbone features may look at.

    Attributes:
        params: the run's parameters; a step reads only those it declares (and its `grows_with`, which holds
            the largest value needed).
        features: of the train part in a fit step, of the scored part in a score step.
        results: of the steps before, by name.
        base: of a step that builds on smaller values: its own result at one of them, at least as long in what it
            grows with; None to start from nothing. The result must not depend on it.
        seed: for every random choice; the global generators are left alone.
        device: where to compute.
        progress: to be told (done, total) of long work, in whatever unit.
        scratch: a folder of this step's own, which may not be there yet, for checkpoints: what a killed process left
            in it is there again, and the same bytes come out. Gone once the result is kept; None to keep nothing.
        kept: of a score step that is called again and again on the same fit, as an exported model does: see `once`.
            None in a study, which calls each step once.
    """

    params: BaseModel
    features: Features
    results: Mapping[str, Result]
    seed: int
    device: torch.device
    base: Result | None = None
    progress: Callable[[int, int], None] = unheard
    scratch: Path | None = None
    kept: MutableMapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class ImageContext:
    """All that a step on images may look at.

    Attributes:
        params: as in `StepContext`.
        images: of the train part in a fit step, of the scored part in a score step.
        results: of the steps before, by name.
        seed: for every random choice; the global generators are left as they were.
        device: where to compute.
        weights: the file with the weights of `params.backbone`; None where there is none: random, or a function's own.
        progress: as in `StepContext`.
        scratch: as in `StepContext`.
        kept: as in `StepContext`.
    """

    params: BaseModel
    images: Images
    results: Mapping[str, Result]
    seed: int
    device: torch.device
    weights: Path | None = None
    progress: Callable[[int, int], None] = unheard
    scratch: Path | None = None
    kept: MutableMapping[str, object] | None = None


def once(context: StepContext | ImageContext, name: str, make: Callable[[], Made]) -> Made:
    """What a score step makes of the fit alone: a search index, a network. Made once where the context keeps it.

    Args:
        context: of the step.
        name: what it is, among all that the method's steps make.
        make: makes it; nothing that it reads may depend on the images that are scored.
    """
    if context.kept is None:
        return make()
    if name not in context.kept:
        context.kept[name] = make()
    made: Made = context.kept[name]  # type: ignore[assignment]  # this name is always made by this call
    return made


class Detector(Protocol):
    """An implementation: one method per declared step, called as `step(context) -> Result`, and these.

    The context is a `StepContext` or an `ImageContext`, as the method's `reads` says. The last step's result holds
    `image_scores` float32 (N,) and, where the method says where a defect is, `patch_maps` float32 (N, H, W): raw
    scores, higher is more anomalous, neither normalised nor clamped.
    """

    def anomaly_maps(
        self, patch_maps: NDArray[np.float32], size: tuple[int, int], params: BaseModel
    ) -> NDArray[np.float32]:
        """Expand patch maps (N, H, W) to (N, height, width) of `size`."""
        ...

    def fit_seconds(self, results: Mapping[str, Result], params: BaseModel) -> float:
        """Seconds that fitting this model takes, without the backbone, whatever else was computed with it."""
        ...

    def model_bytes(self, results: Mapping[str, Result], params: BaseModel) -> int:
        """Bytes of the fitted model, without the backbone."""
        ...


@runtime_checkable
class FitFacts(Protocol):
    """A detector that has more to say of a fitted model than its size: figures for the report's curves."""

    def fit_facts(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, float]:
        """Small named figures of the fit at these parameters: {"covering_radius": 1.2}."""
        ...


@runtime_checkable
class Exporting(Protocol):
    """A detector whose fit keeps more than scoring an image takes: what leaves a study is what is needed alone."""

    def exported(self, results: Mapping[str, Result], params: BaseModel) -> Mapping[str, Result]:
        """The results of the fit steps, at these parameters, with which images get the very same scores."""
        ...


@runtime_checkable
class LeaveOneOut(Protocol):
    """A detector that can say how far each image that it was fitted on is from the others.

    Its method declares the step in `Method.leave_one_out`.
    """

    def leave_one_out(self, context: StepContext) -> Result:
        """Score every image of the train part by the model without that image.

        Args:
            context: features of the train part, and the results of the fit steps.

        Returns:
            Arrays: `image_scores` float32 (N,) and `patch_maps` float32 (N, H, W), in the unit of the last step's.

        Raises:
            MethodError: nothing is left to compare an image with.
        """
        ...


@runtime_checkable
class Rescoring(Protocol):
    """A detector that can score again at other values of what makes scores of its distances.

    Its method names these parameters in `Method.plain`.
    """

    def rescore(self, context: StepContext) -> Result:
        """Score the same images by `context.params`; no feature is read.

        Args:
            context: of the last score step, with that step's result beside those before it, and parameters that
                differ from the run's in some of `Method.plain`.

        Returns:
            As the last step: `image_scores` and `patch_maps`.
        """
        ...


@runtime_checkable
class OverEpochs(Protocol):
    """A detector trained in epochs, that can say how images would have been scored on the way.

    Its method declares the step in `Method.over_epochs`.
    """

    def over_epochs(self, context: StepContext) -> Result:
        """Score every image of a part by some earlier states of the training, and by the last.

        Args:
            context: features of the part, and the results of the fit steps.

        Returns:
            Arrays: `epochs` int64 (S,), ascending; `image_scores` float32 (S, N), in the unit of the last step's.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Patches:
    """P patches of the images of a part.

    Attributes:
        images: int64 (P,), numbers of the images.
        rows: int64 (P,), on the patch grid.
        columns: int64 (P,), on the patch grid.
    """

    images: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The training patch that each of P patches is nearest to, as the method measures it.

    Attributes:
        patches: of the train part.
        distances: float32 (P,).
        meaning: what the distance is, for a caption.
    """

    patches: Patches
    distances: NDArray[np.float32]
    meaning: str


@runtime_checkable
class NearestTraining(Protocol):
    """A detector that can name the training patch behind a score."""

    def nearest_training(self, context: StepContext, train: Features, patches: Patches) -> Nearest:
        """Find the training patch that each of these patches is nearest to.

        Args:
            context: of the last score step: features of the scored part, results of all the steps before.
            train: features of the part that was fitted on.
            patches: of the scored part.
        """
        ...
