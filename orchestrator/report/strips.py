"""The recorded pictures that a report shows: one that is damaged is left out and named, and ends no report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from adloc.record.heatmaps import DAMAGED, read_panels, read_picture
from adloc.record.pictured import recorded_pictures
from adloc.record.records import HEATMAPS

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.answer.finding import Finding
    from adloc.record.heatmaps import Panels

_MOST_KEPT = 128  # strips that are kept decoded, about 1 MB each: a plate shows what the gallery has shown


@dataclass(frozen=True, slots=True)
class Strip:
    """A recorded strip.

    Attributes:
        finding: the run.
        image: identity.
        path: of the picture.
    """

    finding: Finding
    image: str
    path: Path


class Strips:
    """Reads pictures, and remembers which were damaged."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._damaged: dict[Path, str] = {}
        self._cut = lru_cache(_MOST_KEPT)(self._read)

    @property
    def damaged(self) -> tuple[str, ...]:
        """A sentence for each damaged picture: which it is, and how to get it back."""
        return tuple(f"{path}: {said}" for path, said in sorted(self._damaged.items()))

    def of(self, finding: Finding) -> list[Strip]:
        """A run's pictures by the name in the file's name, unique in a part as far as the recorder's names are."""
        pictures = recorded_pictures(finding.path / HEATMAPS, finding.test.names)
        return [Strip(finding, image, path) for path, image in pictures.items()]

    def is_whole(self, strip: Strip) -> bool:
        """Whether it is what was recorded."""
        return self._content(strip) is not None

    def panels(self, strip: Strip) -> Panels | None:
        """What is in it; None where it is damaged."""
        return self._cut(strip)

    def explaining(self, path: Path) -> Image.Image | None:
        """A picture of an explanation; None where it is damaged."""
        content = read_picture(path, None)
        if content is None:
            self._damaged[path] = (
                "this picture of an explanation is damaged, and is left out; remove the folder that it is in and run "
                "the study again: that run is explained anew"
            )
            return None
        with Image.open(BytesIO(content)) as picture:
            return picture.convert("RGB")

    def _read(self, strip: Strip) -> Panels | None:
        content = self._content(strip)
        return None if content is None else read_panels(BytesIO(content))

    def _content(self, strip: Strip) -> bytes | None:
        content = read_picture(strip.path, strip.finding.record.files.get(f"{HEATMAPS}/{strip.path.name}"))
        if content is None:
            self._damaged[strip.path] = DAMAGED
        return content
