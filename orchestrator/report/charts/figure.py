"""A chart with the name of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adloc.report.charts.drawing import Drawing


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with the name of its files.

    Attributes:
        name: letters, digits, _ and -.
        drawing: the chart.
        key: whether MLflow's parent run shows it.
    """

    name: str
    drawing: Drawing
    key: bool = False


def safe(name: str) -> str:
    """A name that every file system takes."""
    return "".join(c if c.isalnum() or c in "_-" else "-" for c in name)
