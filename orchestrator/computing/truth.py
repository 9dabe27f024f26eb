"""What is true of a part's pixels: masks at the size at which maps are compared, and what of them is lost there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from adloc.computing.reading import IMAGES_READ, hashes_of, noted
from adloc.datasets.shift import find_void, share_in_frame
from adloc.datasets.transform import native_size, prepare_mask, resize_picture, take_nearest
from adloc.methods.detector import Result
from adloc.planning.parts import in_domain
from adloc.study_file.evaluating import NATIVE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from adloc.planning.stages import TruthStage

COUNTED = ("regions", "vanished", "in_frame", "known")  # arrays that results of earlier versions lack


@dataclass(frozen=True, slots=True, eq=False)
class PixelTruth:
    """Masks of some images of one size.

    Attributes:
        masks: bool (n, height, width), True on defect pixels.
        void: of the same shape, True on pixels that count neither way; None for none.
    """

    masks: NDArray[np.bool_]
    void: NDArray[np.bool_] | None


@dataclass(frozen=True, slots=True)
class _Counted:
    """What was counted on an image's mask at its own size.

    Attributes:
        regions: of the mask.
        vanished: how many of them have no pixel at the evaluation size.
        in_frame: share of the defect pixels that the shift left in the image; nan without any.
        known: False where nobody said which pixels are defective.
    """

    regions: int = 0
    vanished: int = 0
    in_frame: float = math.nan
    known: bool = True


def read_truth(stage: TruthStage) -> Result:
    """Labels and masks of a part at the evaluation size, by these names.

    - `labels` bool (N,).
    - `masks` bool (N, height, width), and `void` of the same shape where pixels count neither way. At each image's
      own size (`native`): the bits of one image after another, eight a byte, and `sizes` int64 (N, 2), their heights
      and widths.
    - `regions` and `vanished` int64 (N,): regions at the image's own size, and how many of them have no pixel left.
    - `in_frame` float64 (N,): share of the defect pixels that the shift left in the image; nan without any.
    - `known` bool (N,): False for an anomalous image without a mask. All its pixels are void.
    """
    part = stage.part
    sizes = [_size(stage, index) for index in range(len(part))]
    native = stage.size == NATIVE
    offsets = np.cumsum([0, *(_n_bytes(size) for size in sizes)])
    shape = (int(offsets[-1]),) if native else (len(part), *sizes[0]) if sizes else (0, 0, 0)
    masks: NDArray[Any] = np.zeros(shape, dtype=np.uint8 if native else np.bool_)
    void = np.zeros_like(masks)
    counted = []
    for index, size in enumerate(sizes):
        mask, outside, counts = _read(stage, index, size)
        place = slice(*offsets[index : index + 2]) if native else index
        for array, values in ((masks, mask), (void, outside)):
            if values is not None:
                array[place] = np.packbits(values) if native else values
        counted.append(counts)
    arrays: dict[str, NDArray[Any]] = {
        "labels": np.array([sample.label for sample in part.samples], dtype=bool),
        "masks": masks,
        "regions": np.array([each.regions for each in counted], dtype=np.int64),
        "vanished": np.array([each.vanished for each in counted], dtype=np.int64),
        "in_frame": np.array([each.in_frame for each in counted], dtype=np.float64),
        "known": np.array([each.known for each in counted], dtype=bool),
    }
    if void.any():
        arrays["void"] = void
    if native:
        arrays["sizes"] = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    return Result(arrays, {IMAGES_READ: noted(hashes_of(part))})


def truth_of(truth: Mapping[str, NDArray[Any]], start: int, stop: int) -> PixelTruth:
    """Masks and void pixels of consecutive images, out of the arrays of `read_truth`; of one image at a native size."""
    masks, void = truth["masks"], truth.get("void")
    if "sizes" not in truth:
        images = slice(start, stop)
        return PixelTruth(np.asarray(masks[images]), None if void is None else np.asarray(void[images]))
    sizes = [(int(height), int(width)) for height, width in truth["sizes"].tolist()]
    offset, size = sum(_n_bytes(each) for each in sizes[:start]), sizes[start]

    def unpacked(bits: NDArray[Any]) -> NDArray[np.bool_]:
        own = np.unpackbits(bits[offset : offset + _n_bytes(size)], count=size[0] * size[1])
        return own.astype(np.bool_).reshape(1, *size)

    return PixelTruth(unpacked(masks), None if void is None else unpacked(void))


def void_share(truth: Mapping[str, NDArray[Any]]) -> float:
    """The share of all pixels that count neither way, out of the arrays of `read_truth`."""
    void, sizes = truth.get("void"), truth.get("sizes")
    if void is None:
        return 0.0
    if sizes is None:
        return float(void.mean())
    return int(np.bitwise_count(void).sum()) / int(np.prod(sizes, axis=1).sum())


def _n_bytes(size: tuple[int, int]) -> int:
    return -(-size[0] * size[1] // 8)


def _own_size(stage: TruthStage, index: int) -> tuple[int, int]:
    """(height, width) of an image in its domain, without reading it."""
    shift, known = stage.part.shift, stage.part.fingerprints[index]
    return stage.image.resized if shift is not None and shift.at == "model" else (known.height, known.width)


def _size(stage: TruthStage, index: int) -> tuple[int, int]:
    """(height, width) at which an image is evaluated."""
    return native_size(*_own_size(stage, index), stage.image) if stage.size == NATIVE else stage.size


def _read(
    stage: TruthStage, index: int, size: tuple[int, int]
) -> tuple[NDArray[np.bool_] | None, NDArray[np.bool_] | None, _Counted]:
    """Defect pixels and void ones, None for none; and what was counted."""
    part = stage.part
    sample, drawn = part.samples[index], part.shifts[index]
    void = None
    if drawn is not None and part.shift is not None and part.shift.moves:
        void = prepare_mask(find_void(drawn, *_own_size(stage, index)), stage.image, size)
    if not sample.label:
        return None, void, _Counted()
    read = part.decoded(index)
    mask = in_domain(read, sample, part.shift, stage.image).mask
    before = resize_picture(read, stage.image).mask if part.shift and part.shift.at == "model" else read.mask
    if mask is None or before is None:  # nobody marked the defect, which is not the same as an empty mask
        return None, np.ones(size, dtype=np.bool_), _Counted(known=False)
    in_frame = 1.0 if mask.any() else math.nan
    if drawn is not None:
        in_frame = share_in_frame(before, drawn)
    n_labels, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)  # 0 = no defect
    kept = np.unique(take_nearest(labels, stage.image, size))
    n_regions = n_labels - 1
    counts = _Counted(n_regions, n_regions - int(np.count_nonzero(kept)), in_frame)
    return prepare_mask(mask, stage.image, size), void, counts
