"""What computes an exported model's backbone: torch, or a converted network that is faster on a CPU."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from adloc.errors import Complaint, UserError
from adloc.methods import MethodError, find_method
from adloc.methods.engines.engine import CONVERTS, EngineName, find_engine, versions
from adloc.metrics.ranking import auroc
from adloc.model.folder import CONVERTED
from adloc.model.network import convert_network
from adloc.model.scorer import Scorer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import torch
    from numpy.typing import NDArray

    from adloc.model.folder import Model

EngineChoice = EngineName | Literal["fastest"]

MOST_CHANGE = 0.0005  # of a metric on these images, for an engine to be taken instead of torch
_CONVERTED: tuple[EngineName, ...] = ("onnx", "openvino")


@dataclass(frozen=True, slots=True, eq=False)
class Judging:
    """The images by which a model is judged.

    Attributes:
        pictures: gives them prepared, uint8 (n, height, width, 3), some at a time.
        labels: bool (N,), True = anomalous.
    """

    pictures: Callable[[], Iterable[NDArray[np.uint8]]]
    labels: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """An engine on the images that the model is judged by.

    Attributes:
        engine: its name.
        seconds: to score them all.
        scores: float32 (N,).
    """

    engine: EngineName
    seconds: float
    scores: NDArray[np.float32]


def with_engine(
    model: Model,
    engine: EngineChoice,
    device: torch.device,
    judging: Judging,
) -> Model:
    """The model with an engine, and the file that it needs in the model's folder.

    Args:
        model: with torch.
        engine: "fastest" for the one that scores the pictures in the least time on this machine, of those that keep
            image AUROC and the share of flagged images within .0005.
        device: where torch computes.
        judging: the images by which it is judged.

    Raises:
        UserError: the method reads images itself, a package is missing, or the network cannot be converted.
    """
    if engine == "torch":
        return model
    if model.spec.backbone is None or find_method(model.spec.method).reads != "features":
        if engine == "fastest":
            return model
        raise UserError(
            Complaint(
                f"--engine {engine} with method {model.spec.method}",
                "an engine runs the backbone of a method on features; this one reads images itself, by torch",
                "use --engine torch",
            )
        )
    wanted = _installed() if engine == "fastest" else (engine,)
    try:
        for name in wanted:  # before the seconds of a conversion
            find_engine(name)
        if wanted:
            convert_network(model.path, model.spec.backbone, wanted, model.spec.image)
    except MethodError as error:
        raise UserError(Complaint(error.found, error.rule, error.remedy)) from None
    if engine != "fastest":
        return _named(model, engine)
    tried = [_try(_named(model, name), device, judging.pictures) for name in ("torch", *wanted)]
    chosen = choose(tried, judging.labels, model.spec.threshold.image)
    if chosen == "torch":
        (model.path / CONVERTED).unlink(missing_ok=True)
    return _named(model, chosen)


def choose(tried: list[Tried], labels: NDArray[np.bool_], threshold: float | None) -> EngineName:
    """The fastest of those that keep image AUROC and the share of flagged images.

    Args:
        tried: on the same images; the first is what the others are held against.
        labels: (N,) of the images, True = anomalous.
        threshold: of the model.
    """

    def figures(scores: NDArray[np.float32]) -> NDArray[np.float64]:
        flagged = 0.0 if threshold is None else float((scores >= threshold).mean())
        ranked = auroc(scores, labels) if labels.any() and not labels.all() else 0.0
        return np.array([ranked, flagged])

    own = figures(tried[0].scores)
    kept = [each for each in tried if np.abs(figures(each.scores) - own).max() <= MOST_CHANGE]
    return min(kept, key=lambda each: each.seconds).engine


def _try(model: Model, device: torch.device, pictures: Callable[[], Iterable[NDArray[np.uint8]]]) -> Tried:
    scorer, scores, seconds = Scorer(model, device), [], 0.0
    for number, pixels in enumerate(pictures()):
        if number == 0:
            scorer.score(pixels)  # what is made once is no cost of an image
        start = time.perf_counter()
        scores.append(scorer.score(pixels).scores)
        seconds += time.perf_counter() - start
    return Tried(model.spec.engine, seconds, np.concatenate(scores))


def _named(model: Model, engine: EngineName) -> Model:
    return replace(model, spec=model.spec.model_copy(update={"engine": engine}))


def _installed() -> tuple[EngineName, ...]:
    found: list[EngineName] = []
    for name in _CONVERTED:
        try:
            find_engine(name)
            versions(CONVERTS)
        except MethodError:
            continue
        found.append(name)
    return tuple(found)
