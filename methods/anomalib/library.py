"""The one importer of anomalib: its models are built here; the others take its types from here.

Importing its models takes 10 to 17 s the first time.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from contextlib import contextmanager, suppress
from functools import partialmethod
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import torch
from torchvision.transforms.v2 import Compose, Normalize
from tqdm import tqdm  # type: ignore[import-untyped]

from adloc.methods.anomalib.lent_weights import lend_weights
from adloc.methods.backbone import BACKBONES
from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    from anomalib.engine import Engine as Engine  # noqa: PLC0414
    from anomalib.models.components.base import AnomalibModule as AnomalibModule  # noqa: PLC0414
    from anomalib.models.image.padim.torch_model import PadimModel as PadimModel  # noqa: PLC0414
    from anomalib.pre_processing import PreProcessor
    from lightning.pytorch import Callback

    from adloc.methods.anomalib.params import AnomalibParams

_COMPONENTS = ("evaluator", "visualizer", "post_processor")  # that look at test images, or change scores


class Prediction(NamedTuple):
    """What a torch model says of n images: raw scores (n,), and maps (n, height, width) or None."""

    scores: torch.Tensor
    maps: torch.Tensor | None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' notices, which are about their own use, and their progress bars from the terminal."""
    before, bar = logging.root.manager.disable, tqdm.__init__
    logging.disable(logging.WARNING)  # their loggers have handlers and levels of their own
    bars: Any = tqdm
    bars.__init__ = partialmethod(bar, disable=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        bars.__init__ = bar


def padim_module() -> ModuleType:
    """The module of anomalib's PaDiM, without its dependencies' warnings."""
    with quiet():
        from anomalib.models.image.padim import torch_model
    return torch_model


def build(params: AnomalibParams, size: tuple[int, int], weights: Path | None) -> AnomalibModule:
    """Build the Lightning module of a model, its networks with the weights that are lent.

    Random initial values come from the global generators.

    Args:
        params: which model.
        size: (height, width) of the images.
        weights: file of the backbone's weights; None for random ones.

    Raises:
        MethodError: the class does not take these arguments or images of this size, or asks for weights or data that
            are not there.
    """
    with quiet():
        from anomalib import models

        made = getattr(models, params.model)
        taken = inspect.signature(made.__init__).parameters
        options = _options(params, size, set(taken))
        _check_arguments(params, set(taken))
        with lend_weights(params.model, params.backbone, weights), translated(params.model):
            pre_processor = _pre_processor(made, size, params.backbone)
            module: AnomalibModule = made(**options, pre_processor=pre_processor)
            if "input_dim" in taken and "input_dim" not in params.arguments:
                n_inputs = _count_inputs(module, size)
                module = made(**options, input_dim=n_inputs, pre_processor=pre_processor)
    seen = prepare(module, torch.zeros(1, 3, *size)).shape[-2:]
    if tuple(seen) != size:
        raise MethodError(
            f"anomalib's {params.model} sees images of {size[0]} x {size[1]} as {seen[0]} x {seen[1]}",
            "its maps could not be laid over the images",
            f"use image.size: [{seen[0]}, {seen[1]}]",
        )
    return module


def prepare(module: AnomalibModule, images: torch.Tensor) -> torch.Tensor:
    """The images (n, 3, height, width) in [0, 1] as the model wants them: resized, normalised, contiguous."""
    transform: Callable[[torch.Tensor], torch.Tensor] | None = getattr(module.pre_processor, "transform", None)
    return (images if transform is None else transform(images)).contiguous()


def predict(module: AnomalibModule, images: torch.Tensor) -> Prediction:
    """Raw scores and maps of the torch model, before any post-processing.

    Args:
        module: fitted.
        images: (n, 3, height, width) in [0, 1], on the model's device.

    Raises:
        MethodError: the model gives nothing that ranks images.
    """
    found = module.model.eval()(prepare(module, images))
    maps = getattr(found, "anomaly_map", None)
    scores = getattr(found, "pred_score", None)
    if maps is not None:
        maps = maps.reshape(len(images), *maps.shape[-2:]).float()
    if scores is None and maps is None:
        raise MethodError(
            f"anomalib's {type(module).__name__} gives neither scores nor maps",
            "a detector ranks images by a score, or gives a map whose largest value does",
            "use another model",
        )
    if scores is None:
        scores = cast("torch.Tensor", maps).amax((1, 2))
    return Prediction(scores.reshape(len(images)).float(), maps)


def batch_of(images: torch.Tensor) -> object:
    """Normal images (n, 3, height, width) as a batch of anomalib's."""
    from anomalib.data import ImageBatch

    n, _, height, width = images.shape
    return ImageBatch(
        image=images,
        gt_label=torch.zeros(n, dtype=torch.bool),
        gt_mask=torch.zeros(n, height, width, dtype=torch.bool),
    )


def engine(callbacks: Sequence[Callback], folder: str, **options: Any) -> Engine:  # noqa: ANN401  # Lightning's
    """The Engine of anomalib itself; it makes folders in `folder`, and would keep a checkpoint of the end there."""
    from anomalib.callbacks import ModelCheckpoint
    from anomalib.engine import Engine

    none = ModelCheckpoint(folder, save_top_k=0)
    return Engine(callbacks=[*callbacks, none], default_root_dir=folder, **options)


def _options(params: AnomalibParams, size: tuple[int, int], taken: set[str]) -> dict[str, Any]:
    """The constructor's arguments: those that adloc knows, then the study's own."""
    known: dict[str, Any] = {
        "batch_size": params.batch_size,
        "epochs": params.epochs,
        "input_shape": size,
        "image_size": size,
    }
    if params.backbone is not None:
        # A name that timm knows: its tag would stand for weights that it fetches.
        known |= dict.fromkeys(("backbone", "student_backbone", "teacher_backbone"), params.backbone)
    options = {name: value for name, value in known.items() if name in taken}
    plain = {name: tuple(v) if isinstance(v, list) else v for name, v in params.arguments.items()}
    return options | dict.fromkeys(_COMPONENTS, False) | plain


def _check_arguments(params: AnomalibParams, taken: set[str]) -> None:
    unknown = sorted(params.arguments.keys() - taken)
    if unknown:
        own = sorted(taken - {"self", "pre_processor", "backbone", "pre_trained", *_COMPONENTS})
        raise MethodError(
            f"anomalib's {params.model} has no argument {', '.join(unknown)}",
            f"its arguments are {', '.join(own)}",
            "correct methods[].params.arguments",
        )


def _pre_processor(made: type[AnomalibModule], size: tuple[int, int], backbone: str | None) -> PreProcessor:
    """The model's own preparation of images, without a crop, normalised as the backbone was trained."""
    crops = "center_crop_size" in inspect.signature(made.configure_pre_processor).parameters
    pre_processor = made.configure_pre_processor(size, **({"center_crop_size": size} if crops else {}))
    transform = getattr(pre_processor, "transform", None)
    known = BACKBONES.get(backbone or "")
    if known is None or not isinstance(transform, Compose):
        return pre_processor
    pre_processor.transform = Compose(
        [Normalize(known.mean, known.std) if isinstance(each, Normalize) else each for each in transform.transforms]
    )
    return pre_processor


def _count_inputs(module: AnomalibModule, size: tuple[int, int]) -> int:
    """The length of the feature vector of an image, which FRE's autoencoder must be told: seen at its door."""
    seen: list[int] = []

    def look(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen.append(inputs[0].shape[-1])

    encoder = module.model.get_submodule("fre_model")
    encoder.register_forward_pre_hook(look)
    with torch.no_grad(), suppress(RuntimeError):  # the autoencoder is of another length
        module.model.eval()(prepare(module, torch.zeros(1, 3, *size)))
    return seen[0]


@contextmanager
def translated(model: str) -> Iterator[None]:
    """Say what kept a model from being made or trained; a file that it would download is named instead.

    Raises:
        MethodError: in place of what the library raised.
    """
    from anomalib.data.utils import download

    def refuse_download(url: str, filename: Path, **_: object) -> NoReturn:
        raise MethodError(
            f"anomalib's {model} asks for {url}",
            "adloc downloads nothing behind your back",
            f"put that file at {filename.resolve()}",
        )

    fetch = vars(download)["urlretrieve"]
    vars(download)["urlretrieve"] = refuse_download
    try:
        yield
    except MethodError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, ImportError, AssertionError, KeyError) as error:
        first_line = next(iter(str(error).splitlines()), "")
        raise MethodError(
            f"anomalib's {model} cannot be made or trained so: {type(error).__name__}: {first_line}",
            "its class takes `arguments` as anomalib's documentation says, images of a size that suits it, and finds"
            " what it needs on this machine",
            "correct methods[].params or image.size; docs/methods.md says what each model needs",
        ) from error
    finally:
        vars(download)["urlretrieve"] = fetch
