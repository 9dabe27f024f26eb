"""The weights that adloc resolved, lent to a library that asks a hub for them by name; nothing is downloaded.

anomalib makes its networks by `timm.create_model(name, pretrained=True)`, UniNet its teacher by torchvision's enum.
While the weights are lent, both get those of the one file that the run names; any other network that is asked for
with weights is refused by name.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from adloc.methods.backbone import BACKBONES
from adloc.methods.errors import MethodError
from adloc.methods.weights import read_state_dict, rename_by_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch import Tensor, nn

_LENDING = RLock()  # what is replaced is the library's, for the whole process
_COUNTER = "num_batches_tracked"  # of batch normalisation; no pass in evaluation reads it


@contextmanager
def lend_weights(model: str, backbone: str | None, weights: Path | None) -> Iterator[None]:
    """Give `backbone` the weights of a file wherever it is asked for with pretrained ones.

    Args:
        model: for messages.
        backbone: adloc's name, or timm's; None where the model has none.
        weights: the file; None for random weights.

    Raises:
        MethodError: on the way: another network's weights are asked for; later, when a pass enters a module whose
            weights the file lacks.
    """
    import timm
    from torchvision.models import WeightsEnum

    create, state_dict = timm.create_model, WeightsEnum.get_state_dict

    def lent(name: str, *, pretrained: bool = False, **options: Any) -> nn.Module:  # noqa: ANN401  # timm's own
        if not pretrained:
            return create(name, pretrained=False, **options)
        if not _is(name, backbone):
            _refuse(model, name)
        network: nn.Module = create(_timm_name(backbone), pretrained=False, **options)
        if weights is not None:
            _fill(network, _named_as_timm(backbone, weights, create), weights, model)
        return network

    def of_torchvision(enum: WeightsEnum, *_: object, **__: object) -> Mapping[str, Tensor]:
        name = type(enum).__name__.removesuffix("_Weights").lower()
        if backbone is None or name != backbone.lower():
            _refuse(model, name)
        from torchvision.models import get_model

        whole: dict[str, Tensor] = get_model(backbone).state_dict()
        found = read_state_dict(weights) if weights is not None else {}
        return _complete(whole, found) if weights is not None else whole

    with _LENDING:
        vars(timm)["create_model"] = lent
        WeightsEnum.get_state_dict = of_torchvision
        try:
            yield
        finally:
            vars(timm)["create_model"] = create
            WeightsEnum.get_state_dict = state_dict


def _is(name: str, backbone: str | None) -> bool:
    """Whether timm's name is the backbone's, with or without a tag of its weights."""
    return backbone is not None and name.partition(".")[0] in (backbone.partition(".")[0], _timm_name(backbone))


def _timm_name(backbone: str | None) -> str:
    """The architecture that the weights were trained as."""
    return f"tf_{backbone}" if _is_packaged(backbone) else str(backbone)


def _is_packaged(backbone: str | None) -> bool:
    """Whether its weights come from a package, under other names than timm's."""
    return backbone is not None and backbone in BACKBONES and BACKBONES[backbone].source == "timm"


def _named_as_timm(backbone: str | None, path: Path, create: Any) -> Mapping[str, Tensor]:  # noqa: ANN401
    """The tensors of a file under timm's names: those of EfficientNet-Lite0's package stand in timm's order."""
    state = read_state_dict(path)
    if not _is_packaged(backbone):
        return state
    network: nn.Module = create(_timm_name(backbone), pretrained=False)
    if state.keys() == network.state_dict().keys():
        return state
    return rename_by_order(state, network, path)


def _fill(network: nn.Module, state: Mapping[str, Tensor], path: Path, model: str) -> None:
    """Put the tensors into a network, which may be without its classifier, or whose last stages nobody reads.

    What the file lacks becomes NaN, and a pass that enters a module with it is refused.
    """
    own = network.state_dict()
    network.load_state_dict(_complete(own, state))
    for name in _lacking(own, state):
        place = name.rpartition(".")[0]
        network.get_submodule(place).register_forward_pre_hook(_Refusal(name, path, model))


def _complete(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's tensors from the file; NaN for those that it lacks."""
    lacking = _lacking(own, state)
    return {
        name: torch.full_like(value, torch.nan) if name in lacking else state.get(name, value)
        for name, value in own.items()
    }


def _lacking(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> set[str]:
    """Names that the file lacks, or has in another shape; a counter of batches is read by no pass."""
    return {
        name
        for name, value in own.items()
        if not name.endswith(_COUNTER) and (name not in state or state[name].shape != value.shape)
    }


@dataclass(frozen=True)
class _Refusal:
    """Refuses to enter a module whose weights the file lacks."""

    name: str
    path: Path
    model: str

    def __call__(self, module: nn.Module, inputs: object) -> None:
        """Say which.

        Raises:
            MethodError: always.
        """
        del module, inputs
        raise MethodError(
            f"weights {self.path}: {self.name} is missing or of another shape",
            f"the file must hold the weights of every part of the network that anomalib's {self.model} looks through",
            "use a complete file of this backbone, or shallower layers in arguments",
        )


def _refuse(model: str, name: str) -> NoReturn:
    raise MethodError(
        f"anomalib's {model} asks for the weights of {name}",
        "adloc lends a model the weights of its `backbone`, and downloads none behind your back",
        f"fetch timm's file of them, and name both: backbone: {name}, weights: /path/to/{name}.safetensors",
    )
