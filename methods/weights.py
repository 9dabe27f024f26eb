"""A weight file put into a network, refused where a part that is run would be left without its weights."""

from __future__ import annotations

import hashlib
import pickle
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from torch import Tensor, nn

# What torch was seen to raise on damaged files and on files of something else, and the families they belong to.
_DAMAGE = (
    OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError,
    RuntimeError, struct.error,
)  # fmt: skip
_RULE = "the file must hold the weights of every part of the network up to the deepest layer asked for"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth or .pt file by name; no code inside the file is run.

    Raises:
        MethodError: the file does not load, or holds something else than named tensors.
    """
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, pickle.UnpicklingError, *_DAMAGE) as error:
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise MethodError(
            f"weights {path}: does not load ({first_line})",
            "it must be a complete .safetensors file, or one that torch.save wrote, of a state dict",
            "save it again as torch.save(network.state_dict(), path)",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise MethodError(
            f"weights {path}: not a state dict",
            "it must hold named tensors and nothing else, as network.state_dict() returns them",
            "save it again as torch.save(network.state_dict(), path)",
        )
    return {str(name): value for name, value in state.items()}


def rename_by_order(state: Mapping[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The same tensors under the network's names, for a file whose entries stand in the network's order.

    Raises:
        MethodError: an entry has another kind (weight, bias, ...) or shape than the one in its place.
    """
    own = network.state_dict()
    for (theirs, value), (ours, wanted) in zip(state.items(), own.items(), strict=False):
        if theirs.rpartition(".")[2] != ours.rpartition(".")[2] or value.shape != wanted.shape:
            place = f"{theirs} {tuple(value.shape)} stands where {ours} {tuple(wanted.shape)} belongs"
            raise MethodError(
                f"weights {path}: {place}",
                "its entries must be those of the network, in the network's order",
                "use weights: default",
            )
    if len(state) != len(own):
        raise MethodError(
            f"weights {path}: {len(state)} entries",
            f"it must have the network's {len(own)}, in the network's order",
            "use weights: default",
        )
    return dict(zip(own, state.values(), strict=True))


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass through the network to the deepest layer asked for did.

    Attributes:
        entered: names of the modules it entered; "" is the network itself.
        finite: whether no NaN came out.
    """

    entered: frozenset[str]
    finite: bool


def _fill_with_nan(tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)


def load_weights(network: nn.Module, state: Mapping[str, Tensor], path: Path, run: Callable[[], Pass]) -> None:
    """Put the tensors into the network.

    A module that the pass to the deepest layer does not enter may lack weights in the file, or have others
    there (a classifier for other classes). Its tensors are then filled with NaN: if they were used after all,
    the pass shows it.

    Args:
        network: filled in place.
        state: the tensors.
        path: of their file, for messages.
        run: makes that pass.

    Raises:
        MethodError: a module that is entered would lack a tensor, or the file has one for it that it does not
            know, or of another shape or kind, or with values that are not finite.
    """
    own = network.state_dict()  # which shares its memory with the network
    known = {name: value for name, value in state.items() if name in own}
    misfits = {name: why for name, value in known.items() if (why := _misfit(value, own[name]))}
    fitting = {name: value for name, value in known.items() if name not in misfits}
    missing, _ = network.load_state_dict(fitting, strict=False)
    unknown = [name for name in state if name not in own]
    if not missing and not unknown:
        return
    _fill_with_nan(own[name] for name in missing)
    done = run()
    needed = [name for name in missing if name.rpartition(".")[0] in done.entered or not done.finite]
    strange = [name for name in unknown if _nearest_module(name, network) in done.entered]
    complaint = _complaint(needed, strange, misfits, state)
    if complaint is not None:
        found, remedy = complaint
        raise MethodError(
            f"weights {path}: {found}",
            "the file must hold just the weights of every part of the network up to the deepest layer asked for",
            remedy,
        )


def _complaint(
    needed: Sequence[str], strange: Sequence[str], misfits: Mapping[str, str], state: Mapping[str, Tensor]
) -> tuple[str, str] | None:
    """What was found and how to mend it, a wrong tensor before a strange or lacking one; None where all is well."""
    misfitting = next((name for name in needed if name in misfits), None)
    lacking = [name for name in needed if name not in state]
    if misfitting is not None:
        return f"{misfitting} {misfits[misfitting]}", "use a file of this backbone"
    if strange:
        remedy = "use a file of this backbone, saved from the plain network's state_dict()"
        return f"the network has no {_some(strange)}", remedy
    if lacking:
        return f"lacks {_some(lacking)}", "use a complete file, or shallower layers"
    return None


def hash_state_dict(network: nn.Module) -> str:
    """SHA-256 over names, types, shapes and values of the network's tensors, hexadecimal."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _misfit(value: Tensor, own: Tensor) -> str:
    """Why a tensor cannot take the place of the network's own; "" where it can."""
    if value.shape != own.shape:
        return f"has shape {tuple(value.shape)}, the network {tuple(own.shape)}"
    if (
        value.layout != own.layout
        or value.is_meta
        or value.is_complex()
        or (own.is_floating_point() and not value.is_floating_point())
    ):
        return f"is {value.dtype} ({value.layout}, {value.device}), the network {own.dtype}"
    if value.is_floating_point() and not bool(value.float().isfinite().all()):
        return "has values that are not a number, or infinite"
    return ""


def _nearest_module(name: str, network: nn.Module) -> str:
    """The innermost module of the network whose name begins the tensor's."""
    modules = dict(network.named_modules())
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


def _some(names: Sequence[str]) -> str:
    """The first three names and the number of the others."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004
    return ", ".join(names[:3]) + more
