"""Tables on terminals of any width: every figure is shown whole."""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from adloc.answer.results import brief
from adloc.cli.fitting import print_fitting
from adloc.cli.tables import print_check, print_plan, print_results
from adloc.executors.computing import Computing
from adloc.expected import expect
from adloc.study import check_data, prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CATEGORIES = ("a_category_with_a_long_name", "bottle")
HEADS = ("category", "image_auroc", "model_mb")
LINES = (("brick", "0.1234", "12.5"), ("strip", "-", "0.75"), ("macro", "0.5678", "13.2"))


def shown(width: int) -> list[str]:
    """The table's lines at this width, and what is said below it."""
    buffer = io.StringIO()
    print_fitting(Console(file=buffer, width=width), HEADS, LINES, 1, 2)
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
    print_fitting(Console(file=buffer, width=80, force_terminal=True), HEADS, LINES, 1, n_plain)
    assert ["\x1b[1m" in line for line in buffer.getvalue().splitlines()[1:]] == bold


def test_heads_are_broken_before_a_column_is_left_out() -> None:
    """8 + 6 + 5 letters and two gaps of 1: 21."""
    expected = ["           image model", "category   auroc    mb", "brick     0.1234  12.5"]
    for width in (30, 21):
        lines = shown(width)
        assert [line.replace(" ", "") for line in lines[:3]] == [line.replace(" ", "") for line in expected]
        assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
        assert not any("not shown" in line for line in lines)


def test_blocks_repeat_what_tells_the_rows_apart() -> None:
    """One letter less than all take (20): the last figure goes into a block of its own."""
    assert [line.split() for line in shown(20)] == [
        ["image"], ["category", "auroc"], ["brick", "0.1234"], ["strip", "-"], ["macro", "0.5678"],
        [],
        ["model"], ["category", "mb"], ["brick", "12.5"], ["strip", "0.75"], ["macro", "13.2"],
    ]  # fmt: skip


def test_rows_are_numbered_where_no_figure_fits_beside_their_names() -> None:
    """8 letters, a gap and a figure of 6 take 15; "row", a gap and 8 letters 12."""
    lines = [line.split() for line in shown(14)]
    assert ["1", "brick"] in lines
    assert ["1", "0.1234"] in lines
    assert ["3", "13.2"] in lines
    assert max(map(len, shown(14))) <= 14


def test_what_is_the_same_in_every_row_is_said_once_above() -> None:
    """Only where the table is too wide: 6 + 6 + 5 letters and gaps of 2 take 21."""
    heads, lines = ("method", "regime", "fit_s"), (("knn", "clean", "1.5"), ("knn", "shift", "2.5"))
    for width, expected in ((21, "method  regime  fit_s"), (14, "in every row: method")):
        buffer = io.StringIO()
        print_fitting(Console(file=buffer, width=width), heads, lines, 2)
        told = " ".join(buffer.getvalue().split())
        assert told.startswith(" ".join(expected.split()))
        assert told.count("knn") == (2 if width == 21 else 1)


def on_terminal(print_it: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that this prints on a pseudo terminal of 80 columns."""
    ours, theirs = os.openpty()
    told: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the other end is closed
            while content := os.read(ours, 4096):
                told.append(content)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(theirs, "w", encoding="utf-8") as stream:
        patch.setenv("COLUMNS", "80")
        patch.setenv("TERM", "xterm")
        patch.setenv("NO_COLOR", "1")
        patch.setattr("sys.stdout", stream)
        print_it()
    reader.join(10)
    os.close(ours)
    return re.sub(r"\x1b\[[\d;]*m", "", b"".join(told).decode()).splitlines()


def results(categories: tuple[str, ...]) -> list[dict[str, str | int | float | None]]:
    """Rows of three regimes and two settings of two methods, every figure another, with their macro rows."""
    names = ("threshold", "image_auroc", "image_f1", "pixel_auroc", "pixel_aupro", "fit_s", "score_ms_per_image",
             "model_mb")  # fmt: skip
    told = product((*categories, "macro"), ("patchcore", "softpatch"), ("clean", "shift_test", "shift_both"), (1, 2))
    return [
        {"category": category, "method": method, "setting": "", "regime": regime, "scope": "category",
         "threshold_scope": "category", "repeat": 0, "status": "done", "domain": "clean",
         "params.layers": "layer2-layer3" if k == 1 else "layer1-layer2-layer3", "params.n_neighbours": k}
        | {name: 1 + (10 * number + i) / 10_000 if i < 5 else 100 + number + i / 10 for i, name in enumerate(names)}
        for number, (category, method, regime, k) in enumerate(told)
    ]  # fmt: skip


def test_every_figure_of_every_row_is_whole_on_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each beside its own regime and method; no line is longer, nothing is cut."""
    rows = results(("metal_nut", "transistor"))
    lines = on_terminal(lambda: print_results(rows), monkeypatch)
    assert max(map(len, lines)) <= 80
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    for row in rows:
        own = {word for line in lines if f" {row['image_auroc']:.4f}" in line for word in line.split()}
        assert {row["category"], row["method"], row["regime"]} <= own
    words = set(" ".join(lines).split())
    heads, cells = brief(rows)
    assert {cell for line in cells for cell in line} <= words
    assert {word for head in heads for word in head.split("_")} <= words


@pytest.mark.parametrize(("categories", "n_macro"), [(("gear",), 0), (("gear", "tile"), 12)])
def test_one_category_is_printed_once(
    categories: tuple[str, ...], n_macro: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its average would be itself; the rows themselves are as they were."""
    rows = results(categories)
    print_results(rows)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("macro") for line in lines) == n_macro
    assert sum(line.startswith("gear") for line in lines) == 12
    assert all(f"{row['image_auroc']:.4f}" in "".join(lines) for row in rows if row["category"] != "macro")


@pytest.mark.parametrize("width", [80, 40, 20])
def test_lists_are_broken_between_their_entries(width: int) -> None:
    """A defect type stands on one line with its count; at 80 columns the others' figures are in the row of the part."""
    defects = {"contamination_of_the_rim": 21, "broken_large": 20, "broken_small": 22, "scratch": 3}
    told = ", ".join(f"{name} {n}" for name, n in defects.items())
    heads = ("category", "part", "images", "defect types")
    buffer = io.StringIO()
    print_fitting(Console(file=buffer, width=width), heads, (("bottle", "test", "86", told),), 2)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    assert max(map(len, lines)) <= width
    if width > max(map(len, defects)) + 3:
        assert all(any(f"{name} {n}" in line for line in lines) for name, n in defects.items())
    if width == 80:
        assert any(line.split()[:3] == ["bottle", "test", "86"] for line in lines)


@pytest.fixture(scope="module")
def many_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two categories in a folder, one with defect types that no line of 80 letters holds together."""
    folder = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)

    def image(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)

    for category, types in zip(CATEGORIES, (1, 9), strict=True):
        for n in range(8):
            image(folder / "images" / category / "train" / "good" / f"{n}.png")
        for n in range(2):
            image(folder / "images" / category / "test" / "good" / f"{n}.png")
            for kind in range(types):
                image(folder / "images" / category / "test" / f"contamination_number_{kind}" / f"{n}.png")
    (folder / "s.yaml").write_text(
        "study: many\n"
        f"dataset: {{kind: mvtec_ad, root: {folder / 'images'}, masks: optional}}\n"
        "image: {size: 32}\nregimes: [clean, threshold_only, full_adaptation]\n"
        "methods:\n- method: patchcore\n"
        "  params: {backbone: efficientnet_lite0, weights: random, layers: [blocks.2], neighbours: 3}\n"
        "  grid: {coreset_ratio: [0.05, 0.5]}\n- method: floor\n"
    )
    return folder


@pytest.mark.parametrize("verb", ["plan", "check"])
def test_plan_and_check_are_whole_on_a_terminal_and_in_a_pipe(
    verb: str, many_types: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its tables the terminal of 80 columns shows every word of the pipe, nothing cut; there a row is a line."""
    file, workspace = many_types / "s.yaml", Workspace(many_types / "w")
    if verb == "plan":
        study = prepare(file, (), workspace, download=False)
        shown = partial(print_plan, expect(study, Computing(device="cpu", jobs=1)))
    else:
        shown = partial(print_check, check_data(file, (), workspace), as_json=False)
    shown()
    piped = [line for line in capsys.readouterr().out.splitlines() if "  " in line.strip()]
    lines = on_terminal(shown, monkeypatch)
    words = {word.rstrip(",") for line in lines for word in line.split()}
    assert {word.rstrip(",") for line in piped for word in line.split()} <= words
    assert not any("\N{HORIZONTAL ELLIPSIS}" in line for line in lines)
    starts = [line.split()[:3] for line in piped]
    regimes = ("clean", "threshold_only", "full_adaptation")
    if verb == "plan":
        assert starts[1:7] == [[m, "category", r] for m in ("patchcore", "floor") for r in regimes]
        assert ["cost", "to", "do"] in starts
    else:
        assert max(len(line) for line in lines if not line.startswith(("warning", "  "))) <= 80
        parts = ("train", "validation", "test")
        assert [start[:2] for start in starts[1:]] == [[c, p] for c in CATEGORIES for p in parts]
        assert all(f"contamination_number_{n} " in " ".join(lines) for n in range(9))
