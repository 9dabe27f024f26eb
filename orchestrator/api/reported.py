"""A report that was written."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from os import fspath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST_SHOWN = 2  # figures in a notebook; the page has all


@dataclass(frozen=True, slots=True)
class Reported:
    """Where a report is. It is a path, so that `open` and `Path` take it.

    Attributes:
        page: the HTML file.
        figures: folder of SVG and PNG files.
        tables: folder of CSV and LaTeX files.
        key_figures: the PNG files that say most.
    """

    page: Path
    figures: Path
    tables: Path
    key_figures: tuple[Path, ...]

    def __fspath__(self) -> str:
        """The page."""
        return fspath(self.page)

    def __str__(self) -> str:
        """The page."""
        return str(self.page)

    def _repr_html_(self) -> str:
        """Inline in a notebook: where the page is, which opens from disk, and the figures that say most."""
        link = f'<p><a href="{escape(self.page.as_uri())}">{escape(str(self.page))}</a></p>'
        pictures = [b64encode(path.read_bytes()).decode() for path in self.key_figures[:MOST_SHOWN]]
        return link + "".join(
            f'<img src="data:image/png;base64,{each}" style="max-width: 100%" alt="">' for each in pictures
        )
