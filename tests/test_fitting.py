"""Tables on terminals of any width: a figure is shown whole or not at all."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from adloc.cli.fitting import print_fitting

HEADS = ("category", "image_auroc", "model_mb")
LINES = (("brick", "0.1234", "12.5"), ("strip", "-", "0.75"), ("macro", "0.5678", "13.2"))


def shown(width: int) -> list[str]:
    """The table's lines at this width, and what is said below it."""
    buffer = io.StringIO()
    print_fitting(Console(file=buffer, width=width), HEADS, LINES, 2)
    return [line.rstrip() for line in buffer.getvalue().splitlines()]


def test_a_table_that_fits_is_as_wide_as_its_words() -> None:
    """8 + 11 + 8 letters and two gaps of 2: 31."""
    for width in (31, 100):
        assert shown(width)[:3] == [
            "category  image_auroc  model_mb",
            "brick          0.1234      12.5",
            "strip               -      0.75",
        ]


@pytest.mark.parametrize(("n_plain", "bold"), [(2, [False, False, True]), (None, [False] * 3), (0, [True] * 3)])
def test_averages_are_bold(n_plain: int | None, bold: list[bool]) -> None:
    """Those behind the plain rows, and none where there are no averages."""
    buffer = io.StringIO()
    print_fitting(Console(file=buffer, width=80, force_terminal=True), HEADS, LINES, n_plain)
    assert ["\x1b[1m" in line for line in buffer.getvalue().splitlines()[1:]] == bold


def test_heads_are_broken_before_a_column_is_left_out() -> None:
    """8 + 6 + 5 letters and two gaps of 1: 21."""
    expected = ["           image model", "category   auroc    mb", "brick     0.1234  12.5"]
    for width in (30, 21):
        lines = shown(width)
        assert [line.replace(" ", "") for line in lines[:3]] == [line.replace(" ", "") for line in expected]
        assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
        assert not any("not shown" in line for line in lines)


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(20, "not shown at this width: model_mb"), (14, "not shown at this width: image_auroc, model_mb")],
)
def test_the_last_columns_are_left_out_and_named(width: int, left_out: str) -> None:
    """One letter less than all take; less than two columns take (15). Figures that are shown are whole."""
    lines = shown(width)
    assert " ".join(lines).endswith(left_out)
    assert any("0.1234" in line for line in lines) == (width == 20)
    assert not any("12.5" in line or "\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
