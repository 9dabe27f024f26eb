"""The backbone of an exported model: the weights that it was fitted with, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from safetensors.torch import save_file

from adloc.errors import Complaint, UserError
from adloc.methods.backbone import WeightsFile, hash_weights, resolve_weights
from adloc.methods.errors import MethodError
from adloc.methods.network import load_backbone, read_weights
from adloc.model.folder import BACKBONE, hash_file, let_others_read

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from adloc.methods.network import FeatureExtractor
    from adloc.model.spec import BackboneSpec


def find_weights(folder: Path, spec: BackboneSpec) -> WeightsFile:
    """The file of the weights: the model's own copy, else the one that the study read, by its hash.

    Raises:
        UserError: it is not there, or another one.
    """
    if spec.file is not None:
        return WeightsFile(folder / spec.file, spec.description)
    try:
        found = resolve_weights(spec.backbone, spec.weights, seed=spec.seed)
        digest = hash_weights(spec.backbone, found)
    except MethodError as error:
        raise _absent(spec, error.found) from None
    if digest != spec.sha256:
        raise _absent(spec, f"weights {found.path or spec.weights}: the SHA-256 begins with {digest[:8]}")
    return found


def load_network(folder: Path, spec: BackboneSpec, device: torch.device) -> FeatureExtractor:
    """The network that gives the layers' features.

    Raises:
        UserError: its weights are not there.
    """
    return load_backbone(spec.backbone, find_weights(folder, spec), spec.layers, spec.seed, device)


def copy_weights(folder: Path, spec: BackboneSpec) -> BackboneSpec:
    """Write the weights into the model's folder, by the network's own names and without a pickle."""
    tensors = read_weights(spec.backbone, find_weights(folder, spec), spec.seed)
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, folder / BACKBONE)
    let_others_read(folder / BACKBONE)
    return spec.model_copy(update={"file": BACKBONE, "file_sha256": hash_file(folder / BACKBONE)})


def _absent(spec: BackboneSpec, found: str) -> UserError:
    return UserError(
        Complaint(
            found,
            f"the model was fitted on features of {spec.backbone} with the weights {spec.description}, "
            f"SHA-256 {spec.sha256[:16]}...",
            "export it with --with-backbone, which puts them into its folder; or put that file where it was",
        )
    )
