"""Names of strangers' folders and files are shown, and are orders to nobody: page, LaTeX, terminal, MLflow."""

from __future__ import annotations

import ast
import contextlib
import csv
import os
import pty
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from adloc.answer.results import write
from adloc.cli.fitting import plain_table, print_fitting
from adloc.cli.say import hand_out, say, warn
from adloc.printed import csv_line, escape_latex, printable
from adloc.report.tables import EMPTY, Table, words
from adloc.tracking.naming import run_name
from checkout import ROOT
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

    from chromium import Chromium

SCRIPT = "<img src=x onerror=window.ran=1>"
CATEGORIES = (SCRIPT, "[red]ab*{}$#^~&%_<>é漢[")
DEFECTS = ("'\"><svg onload=window.ran=2>", "line\nbreak\x07[bold]")
LONG = "x" * 180
ORDERS = [chr(n) for n in (*range(32), *range(127, 160), 0x202E, 0x2066, 0x2028)]
PREAMBLE = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"


@dataclass(frozen=True)
class Told:
    """What a study of such names leaves.

    Attributes:
        folder: of the study.
        file: of the study.
        workspace: where it was run.
        output: all that the run printed.
    """

    folder: Path
    file: Path
    workspace: Path
    output: str


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A study of two categories whose folders, defect types and images have names that mean something elsewhere."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)

    def image(path: Path, *, spot: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 60, (32, 32, 3), dtype=np.uint8)
        pixels[4:12, 4:12] += 150 * spot
        Image.fromarray(pixels).save(path)

    for category in CATEGORIES:
        root = folder / "images" / category
        for n in range(8):
            image(root / "train" / "good" / f"{n}{LONG if n == 0 else SCRIPT}.png")
            image(root / "test" / "good" / f"\x1b]0;title\x07{n}\n[red]&_%.png")
        for defect in DEFECTS:
            for n in range(6):
                image(root / "test" / defect / f"{n}{SCRIPT}.png", spot=True)
    (folder / "s.yaml").write_text(
        "study: hostile\ndescription: 'Does <script>window.ran=3</script> $run$ {at} \\all?'\n"
        f"dataset: {{kind: mvtec_ad, root: {folder / 'images'}, masks: optional}}\n"
        "image: {size: 32}\nregimes: [clean, threshold_only]\nmethods:\n- method: floor\nheatmaps: 4\nmodels: none\n"
    )
    arguments = (folder / "s.yaml", "--workspace", folder / "w")
    output = adloc("study", "run", *arguments).output
    output += "".join(adloc(*verb, *arguments).output for verb in (("study", "plan"), ("study", "results")))
    output += adloc("data", "check", *arguments).output
    return Told(folder / "w" / "studies" / "hostile", folder / "s.yaml", folder / "w", output)


@pytest.mark.slow
def test_report_runs_no_script_and_shows_names_as_they_are(told: Told, browser: Chromium) -> None:
    """No handler of an image or a drawing ran, no element was made of a name, and each name stands in the text."""
    browser.open(told.folder / "report.html", 1360)
    assert browser.run("window.ran === undefined")
    assert browser.run("document.querySelectorAll('[onerror], [onload]').length") == 0
    text = browser.run("document.body.textContent")
    for name in (SCRIPT, DEFECTS[0], printable(CATEGORIES[1]), "<script>window.ran=3</script>"):
        assert name in text
    assert browser.complaints() == []


@pytest.mark.slow
def test_terminal_is_given_no_orders(told: Told) -> None:
    """Neither of run, plan, results nor check; the names are there, written out."""
    assert not [letter for letter in told.output if letter in ORDERS and letter != "\n"]
    assert printable(CATEGORIES[1]) in told.output
    assert printable(DEFECTS[1]) in told.output


@pytest.mark.slow
def test_figures_are_xml_and_tables_compile(told: Told, tmp_path: Path) -> None:
    """Every SVG file and every .tex file, the results as LaTeX among them."""
    figures = list((told.folder / "figures").glob("*.svg"))
    assert figures
    for path in figures:
        ET.parse(path)  # noqa: S314  written by this test
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    tables = [path.read_text() for path in sorted((told.folder / "tables").glob("report_*.tex"))]
    tables.append(adloc("study", "results", "hostile", "--workspace", told.workspace, "--format", "latex").stdout)
    assert compiled("\n\\clearpage\n".join(tables), tmp_path) == ""


@pytest.mark.slow
def test_mlflow_shows_runs_of_every_category(told: Told) -> None:
    """Under names that it takes; a category's name is in its tags as it is."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{told.workspace / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    runs = client.search_runs(experiments)
    tagged = {run.data.tags.get("adloc.category") for run in runs}
    assert set(CATEGORIES) <= tagged
    assert all(re.fullmatch(r"[\w./ :\-]+", name) for run in runs for name in run.data.metrics)


def compiled(body: str, folder: Path) -> str:
    """What pdflatex says against a document of this body; "" where nothing."""
    (folder / "all.tex").write_text(f"{PREAMBLE}{body}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    return "" if done.returncode == 0 else done.stdout.decode(errors="replace")[-2000:]


def test_every_letter_of_a_name_can_stand_in_a_table(tmp_path: Path) -> None:
    """At the start of a row, within it, in a head and in the caption; an empty name too."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    letters = [*ORDERS, *map(chr, range(32, 127)), "é", "漢", "\U0001f600", "\N{EN DASH}", "≥"]
    rows = tuple((words(f"{letter}x]"), words(f"a{letter * 2}b")) for letter in letters)
    tables = [
        Table(f"n{start}", "".join(letters), (f"[{letters[start]}", "*"), rows[start : start + 50])
        for start in range(0, len(rows), 50)
    ]
    assert compiled("\n\\clearpage\n".join(table.latex() for table in tables), tmp_path) == ""


@given(st.text(min_size=1))
def test_what_is_printed_holds_no_orders(name: str) -> None:
    """Whatever the name; a plain one stays what it is, and a table of it has one line a row."""
    shown = printable(name)
    assert not set(shown) & set(ORDERS)
    if name.isascii() and name.isprintable():
        assert shown == name
    assert plain_table(("category",), ((name,),)).count("\n") == 2
    assert escape_latex(name).isascii()
    assert escape_latex(name).isprintable()


@given(st.lists(st.text().filter(lambda name: name != EMPTY), min_size=2, max_size=2))
def test_tables_hold_names_as_they_are(names: list[str]) -> None:
    """Results, tables of the report and scores read back the same: no letter ends a row, no formula is changed."""
    results = write([{"category": names[0], "domain": names[1]}], "csv")
    table = Table("n", "", ("category", "image"), (tuple(map(words, names)),)).csv()
    for text in (results, table, csv_line(["path", "error"]) + csv_line(names)):
        assert list(csv.reader(StringIO(text, newline="")))[1:] == [names]
        assert text.count("\r") == "".join(names).count("\r")


def test_plain_rows_are_not_quoted() -> None:
    """As tables have always been; a formula stays the name that it is."""
    assert write([{"category": "bottle", "image_auroc": 0.5, "threshold": None}], "csv") == (
        "category,image_auroc,threshold\nbottle,0.5,\n"
    )
    assert csv_line(["=cmd()", 'a"b', "c,d"]) == '=cmd(),"a""b","c,d"\n'


@given(st.text())
def test_runs_in_mlflow_have_names_without_orders(domain: str) -> None:
    """A domain comes from names of files by a pattern; a plain one stands as it is."""
    tags = {"adloc.scope": "category", "adloc.repeat": "0", "adloc.regime": "clean", "adloc.method": "knn"}
    shown = run_name("bottle", {}, (), tags, {"domain": domain})
    assert not set(shown) & set(ORDERS)
    assert run_name("bottle", {"k": 0.1}, ("k",), tags, {"domain": "view 2"}) == "0.1 bottle clean domain view 2 knn"


def test_what_the_command_line_prints_goes_one_way() -> None:
    """By `adloc.cli.say`, or as JSON or a table, which write out letters that are orders; no other file prints."""
    files = [path for room in ("orchestrator", "methods", "datasets") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 400
    elsewhere = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"click.echo", "click.secho", "print"}:
                shown = [ast.unparse(each.func) for each in node.args if isinstance(each, ast.Call)]
                if path.name != "say.py" and shown not in (["json.dumps"], ["plain_table"]):
                    elsewhere.append(f"{path}:{node.lineno}")
    assert elsewhere == []


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nWARNING: forged", "a\u202eb"])
def test_lines_of_say_are_lines(name: str) -> None:
    """One each, whatever a name holds; what a program reads in a pipe is left as it is."""

    @click.command()
    def verb() -> None:
        say(name, "", name)
        warn([name])
        hand_out(name)

    shown = CliRunner().invoke(verb, color=True)
    assert shown.stdout == f"{printable(name)}\n\n{printable(name)}\n{name}"
    assert shown.stderr == f"WARNING: {printable(name)}\n"


@pytest.mark.slow
def test_rows_of_scores_on_a_terminal_are_given_no_orders(told: Told, tmp_path: Path) -> None:
    """Where `predict` writes its CSV into one; a pipe gets the names as they are."""
    workspace, model = ("--workspace", told.workspace), tmp_path / "model"
    adloc("model", "export", "--study", told.file, "--category", CATEGORIES[1], *workspace, "--output", model)
    image = next((told.file.parent / "images" / CATEGORIES[1] / "test" / "good").iterdir())
    command = [sys.executable, "-m", "adloc", "predict", str(model), str(image)]
    piped = subprocess.run(command, capture_output=True, check=True, timeout=300)
    assert image.name.encode() in piped.stdout
    seen = on_terminal(command).decode()
    assert not set(seen) & set(ORDERS) - set("\r\n")
    assert printable(image.name, keep="\n") in seen.replace("\r\n", "\n")


def on_terminal(command: list[str]) -> bytes:
    """What a command writes to its terminal."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=follower, stderr=subprocess.DEVNULL)
    os.close(follower)
    seen = b""
    with contextlib.suppress(OSError):  # what Linux says when nobody has it open any more
        while read := os.read(leader, 65536):
            seen += read
    os.close(leader)
    assert process.wait(300) == 0
    return seen


def test_markup_of_rich_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal as in a pipe."""
    print_fitting(Console(width=80), ("category", "[b]n"), (("[red]x[/red]", "1"), ("[/]", "2")), 1)
    shown = capsys.readouterr().out
    assert "[red]x[/red]" in shown
    assert "[/]" in shown
    assert "[b]n" in shown


def test_results_as_latex_escape_every_special_letter() -> None:
    """None is left as an order; heads and cells."""
    text = write([], "latex")
    assert text.startswith("\\begin{tabular}")
    for letter in "&%$#_{}~^\\<>[*":
        assert escape_latex(letter) != letter
