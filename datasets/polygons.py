"""Masks that are drawn as polygons: labelme's files, one an image, and COCO's, one for all.

A pixel is defect when its centre lies inside a polygon; coordinates count from the image's upper left corner, so the
first pixel's centre is (0.5, 0.5). Several polygons of an image are joined. Boxes, points and run lengths (RLE) are
refused: the first two are no masks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from adloc.datasets.decoding import read_bytes
from adloc.datasets.errors import DatasetError, Problem

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SUFFIX = ".json"
_FEWEST_CORNERS = 3
_NO_RUN_LENGTHS = "export the annotations as polygons, or as mask images"

_MOST_PIXELS = 2**28  # more than any image that is decoded has

Point = tuple[FiniteFloat, FiniteFloat]
Polygon = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """What is drawn on one image.

    Attributes:
        path: of the file that says so.
        height: of the image that it was drawn on, in pixels.
        width: of the same.
        polygons: corners as (x, y), in pixels from the upper left corner.
    """

    path: Path
    height: int
    width: int
    polygons: tuple[Polygon, ...]

    @property
    def identity(self) -> bytes:
        """Changes when what is drawn does."""
        return json.dumps(["polygons", self.height, self.width, self.polygons]).encode()

    def mask(self) -> NDArray[np.bool_]:
        """The pixels whose centres lie inside, bool (height, width)."""
        import numpy as np
        from skimage.draw import polygon2mask

        mask = np.zeros((self.height, self.width), dtype=np.bool_)
        for polygon in self.polygons:
            corners = np.array(polygon, dtype=np.float64)[:, ::-1] - 0.5  # (row, column), of pixels' centres
            mask |= polygon2mask(mask.shape, corners)  # type: ignore[no-untyped-call]
        return mask


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True)

    points: tuple[Point, ...]
    shape_type: str = "polygon"  # files of early versions do not say


class _Labelme(BaseModel):
    model_config = ConfigDict(frozen=True)

    shapes: tuple[_Shape, ...]
    height: int = Field(alias="imageHeight", gt=0)
    width: int = Field(alias="imageWidth", gt=0)


class _Image(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: int | str
    file_name: str
    height: int = Field(gt=0)
    width: int = Field(gt=0)


class _Annotation(BaseModel):
    model_config = ConfigDict(frozen=True)

    image_id: int | str
    segmentation: tuple[tuple[FiniteFloat, ...], ...] | dict[Literal["counts", "size"], object] = ()


class _Coco(BaseModel):
    model_config = ConfigDict(frozen=True)

    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]


def read_labelme(path: Path) -> Outline:
    """Return the polygons of a labelme file.

    Raises:
        DatasetError: the file is none of labelme's, a shape is no polygon, or the image larger than any.
    """
    try:
        found = TypeAdapter(_Labelme).validate_json(read_bytes(path))
    except ValidationError as error:
        rule = "a .json beside the masks is a labelme file: shapes, imageHeight and imageWidth"
        raise DatasetError(
            Problem(_first(path, error), rule, "save it in labelme again, or name another folder")
        ) from None
    for number, shape in enumerate(found.shapes):
        if shape.shape_type != "polygon" or len(shape.points) < _FEWEST_CORNERS:
            raise DatasetError(
                Problem(
                    f"{path}: shapes[{number}] is a {shape.shape_type} of {len(shape.points)} points",
                    "a mask is drawn as polygons of at least three corners",
                    "draw the defect as a polygon",
                )
            )
    return _outline(path, found, tuple(shape.points for shape in found.shapes))


def read_coco(path: Path) -> dict[str, Outline]:
    """Return the polygons of a COCO annotations file, by the `file_name` of their image.

    An image without annotations has none, and is left out.

    Raises:
        DatasetError: the file is none of COCO's, names an image twice or one that it does not list, or an annotation
            has run lengths, no polygon, or one of fewer than three corners; or an image is larger than any.
    """
    try:
        found = TypeAdapter(_Coco).validate_json(read_bytes(path))
    except ValidationError as error:
        rule = "it must be a COCO annotations file: images (id, file_name, height, width) and annotations"
        raise DatasetError(Problem(_first(path, error), rule, "export the annotations again, as COCO JSON")) from None
    images = {image.id: image for image in found.images}
    names = {image.file_name for image in found.images}
    if len(images) < len(found.images) or len(names) < len(found.images):
        rule = "every image has an id and a file_name of its own"
        raise DatasetError(
            Problem(f"{path}: an id or a file_name is there twice", rule, "export the annotations again")
        )
    drawn: dict[int | str, list[Polygon]] = {}
    for number, annotation in enumerate(found.annotations):
        where = f"{path}: annotations[{number}]"
        if annotation.image_id not in images:
            rule = "an annotation's image_id is the id of one of images"
            raise DatasetError(Problem(f"{where} has the image_id {annotation.image_id}", rule, "export it again"))
        drawn.setdefault(annotation.image_id, []).extend(_polygons(annotation, where))
    return {images[key].file_name: _outline(path, images[key], tuple(polygons)) for key, polygons in drawn.items()}


def _outline(path: Path, image: _Labelme | _Image, polygons: tuple[Polygon, ...]) -> Outline:
    if image.height * image.width > _MOST_PIXELS:
        found = f"{path}: drawn on {image.height} x {image.width}"
        rule = f"an image has at most {_MOST_PIXELS:,} pixels"
        raise DatasetError(Problem(found, rule, "draw the polygons anew on the image as it is"))
    return Outline(path, image.height, image.width, polygons)


def _polygons(annotation: _Annotation, where: str) -> list[Polygon]:
    flat = annotation.segmentation
    if isinstance(flat, dict):
        rule = "masks are read from polygons, not from run lengths (RLE)"
        raise DatasetError(Problem(f"{where} has run lengths", rule, _NO_RUN_LENGTHS))
    if not flat:
        rule = "a bounding box is no mask: it says nothing about which pixels inside are defective"
        raise DatasetError(Problem(f"{where} has no polygon", rule, "draw the defect as a polygon"))
    for numbers in flat:
        if len(numbers) % 2 or len(numbers) < 2 * _FEWEST_CORNERS:
            rule = "a polygon is x, y, x, y, ... of at least three corners"
            raise DatasetError(Problem(f"{where} has a polygon of {len(numbers)} numbers", rule, "draw it again"))
    return [tuple(zip(numbers[::2], numbers[1::2], strict=True)) for numbers in flat]


def _first(path: Path, error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(key) for key in first["loc"]) or "the file"
    return f"{path}: {where}: {first['msg']}"
