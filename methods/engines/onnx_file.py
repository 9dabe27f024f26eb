"""The network of a `FeatureExtractor` as an ONNX file.

The file takes images float32 (N, 3, height, width) in [0, 1], named "images", and gives one output a layer, named as
the layer; the backbone's normalisation is inside. It ends at the deepest layer asked for. N may be anything; height and
width are fixed, for two reasons. Where padding depends on the size (EfficientNet-Lite0 of timm), torch's exporter
does not come to an end with free ones within eight minutes, and takes 12 s with fixed ones; and an own network often
bears one size only. A ResNet-18 takes the same time to run either way.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from adloc.methods.engines.engine import CONVERTS, versions
from adloc.methods.errors import MethodError

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.methods.engines.extractor import Extractor
    from adloc.methods.network import FeatureExtractor

LARGEST_DIFFERENCE = 1e-3  # of a layer's largest feature; 1e-5 is seen, with weights drawn at random too


def convert(extractor: FeatureExtractor, size: tuple[int, int]) -> bytes:
    """The network as the bytes of an ONNX file: some ten seconds, mostly the exporter's.

    Args:
        extractor: of any backbone that torch's exporter can follow, its layers after the deepest one included.
        size: (height, width) of its images.

    Raises:
        MethodError: a package is not installed, the network takes no images of that size, or it cannot be exported.
    """
    versions(CONVERTS)
    # Two images: one alone would be taken for a constant. Not of one value: a branch may look at them.
    images = torch.rand((2, 3, *size), generator=torch.Generator().manual_seed(0)).to(extractor.device)
    extractor(images)  # what is wrong with the network itself shows here, in its own words
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter's, of its own insides
            traced = torch.export.export(extractor.traceable(), (images,), dynamic_shapes=dynamic, strict=False)
            program = torch.onnx.export(
                traced, input_names=["images"], output_names=list(extractor.layers), dynamo=True, verbose=False
            )
        if program is None:
            raise TypeError("no program")
        return bytes(program.model_proto.SerializeToString())
    except Exception as error:  # whatever somebody's network, torch's exporter or protobuf's 2 GB raise
        first_line = next(iter(str(error).strip().splitlines()), "")
        raise MethodError(
            f"the network cannot be converted to ONNX ({type(error).__name__}: {first_line[:300]})",
            "torch.export must be able to follow the whole network, for batches of any length",
            "use engine: torch, or rewrite the part of the network that the message names",
        ) from error


def write_onnx(extractor: FeatureExtractor, path: Path, size: tuple[int, int]) -> None:
    """Write the network to a file, whole or not at all; see `convert`.

    Args:
        extractor: the network.
        path: the file; one that is there is replaced.
        size: (height, width) of its images.

    Raises:
        MethodError: it cannot be converted.
    """
    converted = convert(extractor, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with aside.open("wb") as file:
            file.write(converted)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def hold_against(converted: Extractor, extractor: FeatureExtractor, size: tuple[int, int]) -> None:
    """See that a converted network gives what torch gives, on three images of noise.

    Args:
        converted: the network by another engine.
        extractor: the same network by torch.
        size: (height, width) of the images.

    Raises:
        MethodError: a feature differs by more than 1e-3 of its layer's largest one.
    """
    images = torch.rand((3, 3, *size), generator=torch.Generator().manual_seed(1))
    expected, found = extractor(images), converted(images)
    for layer, maps in expected.items():
        theirs, ours = maps.cpu(), found[layer]
        same_shape = ours.shape == theirs.shape
        largest = float(theirs.abs().max())
        difference = float((ours - theirs).abs().max()) if same_shape else float("inf")
        if not difference <= LARGEST_DIFFERENCE * largest:
            shape = tuple(ours.shape)
            what = f"by {difference:.2g}, the largest being {largest:.2g}" if same_shape else f"in shape: {shape}"
            raise MethodError(
                f"layer {layer} of the converted network differs from torch's {what}",
                f"a converted network must give torch's features, to {LARGEST_DIFFERENCE:g} of the largest",
                "use engine: torch",
            )
