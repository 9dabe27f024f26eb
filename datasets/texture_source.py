"""What a generated texture's pixels follow from."""

from __future__ import annotations

from typing import Literal, Protocol

Category = Literal["brick", "grass", "gravel"]
CATEGORIES: tuple[Category, ...] = ("brick", "grass", "gravel")


class TextureSource(Protocol):
    """An image to be drawn; see `adloc.datasets.textures.TextureImage`."""

    @property
    def category(self) -> Category:
        """ "brick"."""

    @property
    def name(self) -> str:
        """ "test/cut/003.png"."""

    @property
    def seed(self) -> int:
        """Of the dataset."""

    @property
    def size(self) -> int:
        """Side in pixels."""

    @property
    def defect(self) -> str:
        """ "good", or the defect type."""
