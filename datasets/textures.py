"""Three small texture categories that need no download: brick, grass and gravel, with procedural defects.

Every image is a crop out of one 512 x 512 grey photograph inside scikit-image, tinted, with small changes of
pose and light; the crops of a category overlap, in train and test alike, as those of a fixed camera do. Good
for a first study and for tests; its figures say nothing about real defects.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from adloc.datasets.config import KindConfig
from adloc.datasets.readers.listing import Listing
from adloc.datasets.sample import GOOD, Fingerprint, Sample
from adloc.datasets.texture_source import CATEGORIES, Category

if TYPE_CHECKING:
    from adloc.datasets.sample import Picture

DEFECTS = ("blur", "cut", "foreign", "missing", "stain", "thread")


class TexturesConfig(KindConfig):
    """Textures made on the spot from photographs inside scikit-image; an image depends on none of the counts."""

    kind: Literal["textures"] = "textures"
    categories: Annotated[tuple[Category, ...], Field(min_length=1)] | Literal["all"] = Field(
        default="all", description="some of brick, grass and gravel, each once, or all"
    )
    seed: int = Field(
        default=42,
        ge=0,
        lt=2**63,
        description="of every image, together with its category and name",
        json_schema_extra={"rule": "it must be a whole number, 0 or more", "remedy": "use 42"},
    )
    size: int = Field(
        default=256,
        ge=32,
        le=2048,
        description="side of the square images in pixels; they show the same view at any size",
        json_schema_extra={"rule": "it must be a number of pixels from 32 to 2048", "remedy": "use 256"},
    )
    n_train: int = Field(
        default=60,
        ge=1,
        le=10_000,
        description="normal images in train/good, a category",
        json_schema_extra={"rule": "it must be a whole number from 1 to 10000", "remedy": "use 60"},
    )
    n_test_good: int = Field(
        default=20,
        ge=1,
        le=10_000,
        description="normal images in test/good, a category",
        json_schema_extra={"rule": "it must be a whole number from 1 to 10000", "remedy": "use 20"},
    )
    n_per_defect: int = Field(
        default=6,
        ge=1,
        le=10_000,
        description="anomalous images of each of the six defect types, a category",
        json_schema_extra={"rule": "it must be a whole number from 1 to 10000", "remedy": "use 6"},
    )

    @field_validator("categories")
    @classmethod
    def _each_once(cls, categories: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if isinstance(categories, tuple) and len(set(categories)) < len(categories):
            message = f"each category may stand there once\nuse [{', '.join(dict.fromkeys(categories))}]"
            raise ValueError(message)
        return categories

    def listing(self) -> Listing:
        """List the images of the chosen categories; generated images can have no fault."""
        return Listing(samples(self))


@dataclass(frozen=True, slots=True)
class TextureImage:
    """One generated image; its pixels follow from these values alone.

    Attributes:
        category: "brick".
        name: "test/cut/003.png"; the folder says which defect is made.
        seed: of the dataset.
        size: side in pixels.
        version: of the generator's code, so that an image's identity changes with its pixels.
    """

    category: Category
    name: str
    seed: int
    size: int
    version: int = 1

    @property
    def defect(self) -> str:
        """ "good", or the defect type."""
        return self.name.split("/")[1]

    @property
    def location(self) -> str:
        """ "textures(seed=42, size=256): brick/test/cut/003.png"."""
        return f"textures(seed={self.seed}, size={self.size}): {self.category}/{self.name}"

    def stamp(self) -> str:
        """All that the pixels follow from."""
        return repr(self)

    def read(self) -> Picture:
        """The image and its mask; a few milliseconds at 256 pixels."""
        from adloc.datasets.texture_pixels import render

        return render(self)

    def fingerprint(self) -> Fingerprint:
        """Hashes of the pixels and of the mask's bytes, one a pixel."""
        picture = self.read()
        drawn = b"" if self.defect == GOOD or picture.mask is None else picture.mask.tobytes()
        mask_sha256 = hashlib.sha256(drawn).hexdigest() if drawn else ""
        height, width = picture.image.shape[:2]
        return Fingerprint(hashlib.sha256(picture.image.tobytes()).hexdigest(), mask_sha256, height, width)


def samples(config: TexturesConfig) -> list[Sample]:
    """The images of the chosen categories, category by category, named as in MVTec AD; none is drawn yet."""
    categories: tuple[Category, ...] = CATEGORIES if config.categories == "all" else config.categories
    return [
        Sample(category, name, origin, defect, TextureImage(category, name, config.seed, config.size), part=origin)
        for category in categories
        for origin, defect, n in _folders(config)
        for name in (f"{origin}/{defect}/{i:03}.png" for i in range(n))
    ]


def _folders(config: TexturesConfig) -> list[tuple[Literal["train", "test"], str, int]]:
    """(origin, defect, number of images) of each folder of a category."""
    anomalous: list[tuple[Literal["train", "test"], str, int]] = [
        ("test", defect, config.n_per_defect) for defect in DEFECTS
    ]
    return [("train", GOOD, config.n_train), ("test", GOOD, config.n_test_good), *anomalous]
