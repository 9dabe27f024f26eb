"""What a stage of any kind says of itself, so that whoever walks the stages of a plan need not tell their kinds apart.

Every kind says its `inputs` (the stages whose results it reads) and its `parts` (those whose images, labels or scores
it reads) as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.planning.parts import PrivatePart, TestPart, TrainPart, ValidationPart

if TYPE_CHECKING:
    from adloc.planning.parts import Part

ANY_PART: tuple[type[Part], ...] = (TrainPart, ValidationPart, TestPart, PrivatePart)


class Stated:
    """What holds of a stage unless its kind says otherwise."""

    @property
    def kind(self) -> str:
        """Of what it computes: "features", "patchcore.coreset"."""
        raise NotImplementedError

    @property
    def key(self) -> str:
        """Of its result: of what it computes, and of the keys of its inputs."""
        raise NotImplementedError

    @property
    def result_keys(self) -> tuple[str, ...]:
        """Under which its results are in the store: its own key, one for every image, or none."""
        return (self.key,)

    @property
    def title(self) -> str:
        """Its kind; of a step with what it does."""
        return self.kind

    @property
    def takes(self) -> tuple[type[Part], ...]:
        """The kinds of part that it may be given; `adloc.planning.sight` holds it to them."""
        return ANY_PART

    @property
    def is_by_image(self) -> bool:
        """Whether it is computed and kept image by image."""
        return False

    @property
    def notes_images(self) -> bool:
        """Whether its result notes which images it has read; those that do not are made of results alone."""
        return False

    @property
    def uses_gpu(self) -> bool:
        """Whether it is computed on a GPU where there is one."""
        return False

    @property
    def grows_with(self) -> str | None:
        """The parameter with which its result grows, if one does: a larger result serves for a smaller one."""
        return None

    @property
    def extent(self) -> float | None:
        """The value of that parameter: how far its result must reach."""
        return None

    @property
    def family(self) -> str | None:
        """What stages have in common of which one can go on from another's result; None for one that cannot."""
        return None
