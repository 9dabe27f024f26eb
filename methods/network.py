"""A frozen backbone: images in, the feature maps of the layers asked for out.

Notation: N images, C channels, H x W a feature map's height and width.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from adloc.methods.backbone import BACKBONES, Backbone, find_backbone
from adloc.methods.errors import MethodError
from adloc.methods.place import import_place
from adloc.methods.weights import Pass, hash_state_dict, load_weights, read_state_dict, rename_by_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor
    from torch.utils.hooks import RemovableHandle

    from adloc.methods.backbone import WeightsFile

_PROBE_SIZE = 224  # networks of a fixed input size are nearly all made for this one


class FeatureExtractor:
    """A frozen network that gives the feature maps of some of its layers.

    Attributes:
        layers: in the order asked for.
        device: where it computes.
    """

    def __init__(self, network: nn.Module, backbone: Backbone, layers: Sequence[str], device: torch.device) -> None:
        """Freeze the network, move it to the device and listen at its layers.

        Raises:
            MethodError: there is no such layer.
        """
        self.layers = tuple(layers)
        self.device = device
        self._network = network.requires_grad_(requires_grad=False).eval()
        self._network.to(device)
        self._network.to(memory_format=torch.channels_last)
        self._mean = torch.tensor(backbone.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(backbone.std, device=device).view(1, 3, 1, 1)
        self._own = _OfThread()
        for layer in self.layers:
            _find_layer(network, backbone, layer).register_forward_hook(self._keep(layer))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The feature maps of a batch of images.

        The pass ends at the deepest layer asked for. A module that is called several times in a pass gives
        its first output.

        Args:
            images: float32 (N, 3, height, width) in [0, 1], of any size the network takes; normalised here.

        Returns:
            {layer: float32 (N, C, H, W)} in the order of `layers`, on `device`.

        Raises:
            MethodError: the pass does not reach a layer, or its output is no feature map.
        """
        self._own.found = {}
        # On a GPU convolutions would round their inputs to TF32: 1e-3, where the CPU's figures differ by 1e-6.
        exact = torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False)
        with torch.inference_mode(), exact:
            pixels = (images.to(self.device) - self._mean) / self._std
            try:
                self._network(pixels.contiguous(memory_format=torch.channels_last))
            except _AllFoundError:
                pass
            else:
                missed = next(layer for layer in self.layers if layer not in self._own.found)
                raise MethodError(
                    f"layer {missed} of the backbone is not reached",
                    "it must be a module that the network calls when it is given an image",
                    "name a module that it calls",
                )
        found, self._own.found = self._own.found, {}
        return {layer: found[layer] for layer in self.layers}

    def probe(self) -> Pass:
        """Make one pass on a grey image; which modules were entered, and whether NaN came out."""
        entered: set[str] = set()
        handles = [
            module.register_forward_pre_hook(_note(name, entered)) for name, module in self._network.named_modules()
        ]
        try:
            features = self(torch.full((1, 3, _PROBE_SIZE, _PROBE_SIZE), 0.5))
        finally:
            _remove(handles)
        return Pass(frozenset(entered), finite=all(not f.isnan().any() for f in features.values()))

    def traceable(self) -> nn.Module:
        """The same pass as a module that an exporter can follow.

        It is given the images, normalises them, and returns a tuple of the maps in the order of `layers`. It runs on
        past the deepest layer, since no tracer follows the exception that ends a pass there: what comes after it leads
        to no output, and an exporter drops it.
        """
        return _Traceable(self)

    def _keep(self, layer: str) -> Callable[[nn.Module, object, object], None]:
        """A hook that keeps a layer's output, and ends the pass at the last one."""

        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, torch.Tensor) or output.ndim != 4:  # noqa: PLR2004
                kind = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise MethodError(
                    f"layer {layer} of the backbone gives {kind}",
                    "it must give a feature map of shape (N, C, H, W)",
                    "name a convolutional layer or stage",
                )
            found = self._own.found
            if layer not in found:
                # A copy: the module that follows may work in place (ReLU does).
                found[layer] = output.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
            if len(found) == len(self.layers) and not self._own.to_the_end:
                raise _AllFoundError

        return hook


class _OfThread(threading.local):
    """What a pass has found, and whether it goes on after that; several threads may make passes at the same time."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}
        self.to_the_end = False


class _Traceable(nn.Module):
    """See `FeatureExtractor.traceable`."""

    _mean: Tensor
    _std: Tensor

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self._network, self._own, self._layers = extractor._network, extractor._own, extractor.layers  # noqa: SLF001
        self.register_buffer("_mean", extractor._mean)  # noqa: SLF001
        self.register_buffer("_std", extractor._std)  # noqa: SLF001
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The feature maps of images in [0, 1]."""
        self._own.found, self._own.to_the_end = {}, True
        try:
            self._network((images - self._mean) / self._std)
        finally:
            found, self._own.found, self._own.to_the_end = self._own.found, {}, False
        return tuple(found[layer] for layer in self._layers)


class _AllFoundError(Exception):
    """Ends a pass through the network when nothing deeper is needed."""


def load_backbone(
    backbone: str, weights: WeightsFile, layers: Sequence[str], seed: int, device: torch.device
) -> FeatureExtractor:
    """Build a backbone with its weights, frozen.

    Random weights are drawn without touching the global generators.

    Args:
        backbone: a name of `BACKBONES`, or "package.module:function": a function without arguments that
            returns an nn.Module, called under a fixed seed; images get ImageNet's mean and std.
        weights: from `resolve_weights`.
        layers: "layer1" to "layer4" (stride 4, 8, 16, 32) of the named backbones, or the path of any
            submodule: "layer2.0.conv1". At least one.
        seed: of random weights.
        device: where to compute.

    Raises:
        MethodError: the function cannot be called, a layer does not exist, or the weight file does not hold
            what the pass to the deepest layer needs.
    """
    known = find_backbone(backbone)
    network = _build(known, seed)
    extractor = FeatureExtractor(network, known, layers, device)
    if weights.path is not None:
        load_weights(network, _read_named(known, network, weights.path), weights.path, extractor.probe)
    return extractor


def require_layers(backbone: Backbone, layers: Iterable[str]) -> None:
    """Check that a network has these layers; it is made on the meta device, where tensors hold nothing.

    Raises:
        MethodError: it has no such layer.
    """
    with torch.device("meta"):
        network = _build(backbone, seed=0)
    for layer in layers:
        _find_layer(network, backbone, layer)


def read_weights(backbone: str, weights: WeightsFile, seed: int) -> dict[str, Tensor]:
    """The weights of a backbone by the network's own names: of their file, else as the network is made with them.

    Args:
        backbone: as for `load_backbone`; of a network that only timm knows, the file's names are its own.
        weights: from `resolve_weights`.
        seed: of random weights.

    Raises:
        MethodError: the file does not load, or the function cannot be called.
    """
    if weights.path is not None and backbone not in BACKBONES:
        return read_state_dict(weights.path)
    known = find_backbone(backbone)
    network = _build(known, seed)
    return dict(network.state_dict()) if weights.path is None else _read_named(known, network, weights.path)


def _read_named(backbone: Backbone, network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The tensors of a file by the network's names."""
    state = read_state_dict(path)
    if backbone.source == "timm" and "_conv_stem.weight" in state:  # as the package names them
        return rename_by_order(state, network, path)
    return state


def hash_function_weights(backbone: str) -> str:
    """SHA-256 of the network that the function "package.module:function" returns: its weights, and the code it runs.

    The code is that of the files that define the function and the classes of the network's layers, torch's own
    apart; what these files import is not looked at.

    Raises:
        MethodError: the function cannot be called.
    """
    found = find_backbone(backbone)
    network = _build(found, seed=0)
    digest = hashlib.sha256(hash_state_dict(network).encode())
    digest.update(repr(network).encode())
    names = {found.name.partition(":")[0], *(type(layer).__module__ for layer in network.modules())}
    for name in sorted(n for n in names if n.partition(".")[0] not in {"torch", "torchvision"}):
        path = getattr(sys.modules.get(name), "__file__", None)
        digest.update(Path(path).read_bytes() if path else b"")
    return digest.hexdigest()


def _build(backbone: Backbone, seed: int) -> nn.Module:
    """The network with freshly drawn weights; a function's network with those it brings."""
    # Always seeded, so that an unseeded function too gives the same weights when it is called again.
    with torch.random.fork_rng(devices=[]):
        if backbone.source == "function":
            torch.default_generator.manual_seed(0)
            return _call_function(backbone.name)
        digest = hashlib.sha256(f"random:{backbone.name}:{seed}".encode()).digest()
        torch.default_generator.manual_seed(int.from_bytes(digest[:8]))  # the CUDA ones stay as they are
        if backbone.source == "timm":
            import timm  # a second to import, and only Lite0 needs it

            network: nn.Module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        else:
            import torchvision

            network = torchvision.models.get_model(backbone.name, weights=None)
        return network


def _call_function(name: str) -> nn.Module:
    """What "package.module:function" returns, if it is a network; it is called only where it may be one that does."""
    rule = "it must be a function of a package of your own, without arguments, that returns an nn.Module"
    function = import_place("backbone", name, rule)
    problem = _why_no_function(function)
    if problem:
        raise MethodError(f"backbone {name}: {problem}", rule, "correct the name, or the function")
    try:
        network: object = cast("Callable[[], object]", function)()
    except MethodError:
        raise
    except (Exception, SystemExit) as error:  # whatever a foreign function raises or ends is its own fault
        raise MethodError(
            f"backbone {name}: cannot be built ({type(error).__name__}: {error})", rule, "correct the function"
        ) from error
    if not isinstance(network, nn.Module):
        raise MethodError(f"backbone {name}: returned {type(network).__name__}", rule, "return the network itself")
    return network


def _why_no_function(found: object) -> str:
    """Why a thing cannot be called for a network, as far as can be seen; "" where it may."""
    if not callable(found):
        return "is not callable"
    try:
        signature = inspect.signature(found)
    except (ValueError, TypeError):
        return "is not a function of Python, whose arguments can be seen"
    try:
        signature.bind()
    except TypeError as error:
        return f"cannot be called without arguments ({error})"
    returned = found if isinstance(found, type) else signature.return_annotation
    if isinstance(returned, type) and returned is not inspect.Signature.empty and not issubclass(returned, nn.Module):
        return f"returns {returned.__name__}"
    return ""


def _find_layer(network: nn.Module, backbone: Backbone, layer: str) -> nn.Module:
    """The submodule behind a layer's name."""
    aliases: Mapping[str, str] = backbone.aliases or {}
    modules: dict[str, nn.Module] = dict(network.named_modules())
    path = aliases.get(layer, layer)
    if path and path in modules:
        return modules[path]
    names = [*aliases, *(name for name in modules if name)]
    near = difflib.get_close_matches(layer, names, n=3, cutoff=0.5)
    outer = [name for name in names if "." not in name]
    raise MethodError(
        f"backbone {backbone.name} has no layer {layer!r}",
        f"a layer must be one of {', '.join(outer)}, or the path of a module inside one of them",
        f"use {' or '.join(near or outer[:1])}",
    )


def _note(name: str, entered: set[str]) -> Callable[[nn.Module, object], None]:
    """A hook that notes that a module is entered."""

    def hook(_module: nn.Module, _inputs: object) -> None:
        entered.add(name)

    return hook


def _remove(handles: Sequence[RemovableHandle]) -> None:
    """Take hooks off again."""
    for handle in handles:
        handle.remove()
