"""From a picture of any size to what a method sees: resize, optional centre crop or tiles, [0, 1]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from adloc.datasets.sample import Picture
from adloc.datasets.tiles import OVERLAP_STEP, TilesConfig, share_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound="np.generic")

# Strict: `size: true` is a slip of the pen, not one pixel.
Side = Annotated[int, Field(strict=True, ge=16, le=4096)]
Size = Side | tuple[Side, Side]


class ImageConfig(BaseModel):
    """The size at which methods see images. One number is a square; two are [height, width].

    With tiles, `size` is that of each tile, and an image is resized to the canvas that they cover together: methods,
    masks, anomaly maps and the evaluation see the canvas.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size = Field(
        default=224,
        description="images are resized to this, whatever their proportions: pixels, or [height, width]; of each tile",
        json_schema_extra={
            "rule": "it must be a number of pixels from 16 to 4096, or two of them as [height, width]",
            "remedy": "use 224",
        },
    )
    crop: Size | None = Field(
        default=None,
        description="centre of the resized image that is kept: pixels, or [height, width]; null keeps all",
        json_schema_extra={
            "rule": "it must be a number of pixels from 16 to size, two of them as [height, width], or null",
            "remedy": "use null to keep the whole image",
        },
    )

    tiles: TilesConfig | None = Field(
        default=None,
        description="rows and columns of tiles that the image is cut into, each of `size`; null for the image at once",
        json_schema_extra={
            "rule": "it must hold rows, columns and overlap, or be null",
            "remedy": "use {rows: 2, columns: 2, overlap: 0.1}, or null for the image at once",
        },
    )

    @model_serializer(mode="wrap")
    def _without_no_tiles(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave `tiles` out where there are none: keys, run ids and searches stay those from before there were any."""
        values: dict[str, object] = write(self)
        return {name: value for name, value in values.items() if name != "tiles" or value is not None}

    @model_validator(mode="after")
    def _tiles_fit(self) -> ImageConfig:
        if self.tiles is None:
            return self
        if self.crop is not None:
            message = (
                f"crop {_in_words(_pair(self.crop))} and tiles {self.tiles} stand together, and tiles cover the whole"
                " resized image\nuse crop: null, or tiles: null"
            )
            raise ValueError(message)
        for count, side in zip((self.tiles.rows, self.tiles.columns), self.tile_size, strict=True):
            shared = self.tiles.shared(side)
            if count > 1 and 2 * shared > side:
                most = side // 2 // OVERLAP_STEP * OVERLAP_STEP
                message = (
                    f"tiles {self.tiles} share {shared} of {side} pixels: at most half of a tile's side, in whole"
                    f" steps of {OVERLAP_STEP} pixels\n"
                    f"use an overlap of at most {share_of(most, side):g}, or a size of at least {2 * shared}"
                )
                raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _crop_fits(self) -> ImageConfig:
        if any(inner > outer for inner, outer in zip(self.input_size, self.resized, strict=True)):
            message = (
                f"crop {_in_words(self.input_size)} does not fit into size {_in_words(self.resized)}\n"
                "use a crop of at most the size, or null to keep the whole image"
            )
            raise ValueError(message)
        return self

    @property
    def resized(self) -> tuple[int, int]:
        """(height, width) after the resize, before the crop; with tiles, of their canvas."""
        return self.tile_size if self.tiles is None else self.tiles.canvas(self.tile_size)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of what a method sees: the crop, the canvas of the tiles, or the resized image."""
        return self.resized if self.crop is None else _pair(self.crop)

    @property
    def tile_size(self) -> tuple[int, int]:
        """(height, width) of a tile; without tiles, of the image after the resize."""
        return _pair(self.size)

    @property
    def crop_origin(self) -> tuple[int, int]:
        """(top, left) of the crop in the resized image; an odd margin is wider at the bottom and right."""
        (height, width), (inner_height, inner_width) = self.resized, self.input_size
        return (height - inner_height) // 2, (width - inner_width) // 2


def prepare_image(image: NDArray[np.uint8], config: ImageConfig) -> NDArray[np.float32]:
    """Return the image as float32 (3, H, W) in [0, 1], at the input size of `config`.

    Bilinear with antialiasing, on 8 bits: the resize of Pillow, with which the published ImageNet weights
    were evaluated. Normalisation by mean and standard deviation is the backbone's.

    Args:
        image: uint8 (height, width, 3).
        config: the sizes.
    """
    import numpy as np

    resized = resize_and_crop(image, config)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def resize_and_crop(image: NDArray[np.uint8], config: ImageConfig) -> NDArray[np.uint8]:
    """Return what the backbone sees, as a picture for people: uint8 (H, W, 3) at the input size."""
    import numpy as np
    from PIL import Image

    height, width = config.resized
    if image.shape[:2] != (height, width):
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    (top, left), (height, width) = config.crop_origin, config.input_size
    return image[top : top + height, left : left + width]


def resize_picture(picture: Picture, config: ImageConfig) -> Picture:
    """Return image and mask after the resize and before the crop: bilinear, and nearest neighbour."""
    whole = config.model_copy(update={"crop": None})
    mask = None if picture.mask is None else prepare_mask(picture.mask, whole)
    return Picture(resize_and_crop(picture.image, whole), mask)


def prepare_mask(
    mask: NDArray[np.bool_], config: ImageConfig, evaluation_size: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """Return the mask of what the backbone sees, bool (H, W), by nearest neighbour.

    Every result pixel takes the value at its own centre in the mask, read once at full size: also under a
    crop, and at an evaluation size that is not the input size.

    Args:
        mask: bool (height, width).
        config: the sizes.
        evaluation_size: (H, W) of the result; None is the input size of `config`.
    """
    return take_nearest(mask, config, config.input_size if evaluation_size is None else evaluation_size)


def take_nearest(values: NDArray[Scalar], config: ImageConfig, size: tuple[int, int]) -> NDArray[Scalar]:
    """Return what `prepare_mask` does, of any values that have no mean: the numbers of regions, say.

    Args:
        values: (height, width).
        config: the sizes.
        size: (H, W) of the result.
    """
    axes = zip(values.shape, config.resized, config.crop_origin, config.input_size, size, strict=True)
    rows, columns = (_nearest(*axis) for axis in axes)
    return values[rows[:, None], columns]


def native_size(height: int, width: int, config: ImageConfig) -> tuple[int, int]:
    """Return (H, W) of what the backbone sees of an image of this size, at the image's own resolution."""
    (tall, wide), (kept_tall, kept_wide) = config.resized, config.input_size
    return max(1, round(height * kept_tall / tall)), max(1, round(width * kept_wide / wide))


def _nearest(n_source: int, n_resized: int, start: int, n_kept: int, n_result: int) -> NDArray[np.int64]:
    """Return the source index at the centre of each result pixel of one axis, shape (n_result,).

    Result pixel i lies at start + (i + 1/2) n_kept / n_result in the resized image, and that times
    n_source / n_resized in the source. In integers: no rounding error decides between two neighbours.
    """
    import numpy as np

    doubled = 2 * start * n_result + (2 * np.arange(n_result, dtype=np.int64) + 1) * n_kept
    return doubled * n_source // (2 * n_result * n_resized)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _in_words(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
