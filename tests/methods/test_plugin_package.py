"""The example package, installed beside adloc as a user would: listed, tuned, killed, resumed, reported.

Not a line of adloc knows of it, and docs/extending.md shows its files.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from forked import Forked
from packages import MEDIAN, PLATES, PLUGIN
from pages import page

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: plugged
dataset: {kind: plates}
image: {size: 64}
methods:
  - method: median_image
    tune: {space: auto}
tuning: {metric: val_image_auroc, trials: 4}
heatmaps: 2
models: none
"""


class Bench:
    """A folder into which the package is installed, with a study, and the command line that sees both."""

    def __init__(self, folder: Path) -> None:
        """Install the package there; nothing is fetched."""
        self.folder, self.site, self.study = folder, folder / "site", folder / "study.yaml"
        source = shutil.copytree(PLUGIN, folder / "source")
        install = ("pip", "install", "--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--target")
        subprocess.run([sys.executable, "-P", "-m", *install, self.site, source], check=True, cwd=folder, timeout=300)
        self.study.write_text(STUDY, encoding="utf-8")

    def start(self, *arguments: str | Path) -> Forked:
        """Run `adloc` in a process of its own."""
        return Forked(*arguments, cwd=self.folder, environment=os.environ | {"PYTHONPATH": str(self.site)})

    def adloc(self, *arguments: str | Path, expect: int = 0) -> str:
        """The same to its end; what it printed."""
        process = self.start(*arguments)
        printed, said = process.end(600)
        assert process.code == expect, said
        return printed if expect == 0 else said

    def run(self, workspace: str, *options: str) -> dict[str, Any]:
        """Run the study; the outcome."""
        printed = self.adloc("study", "run", self.study, "--workspace", workspace, "--json", *options)
        outcome: dict[str, Any] = json.loads(printed)["outcome"]
        return outcome

    def figures(self, workspace: str) -> list[dict[str, Any]]:
        """Every row of the results without its costs."""
        rows = json.loads(self.adloc("study", "results", self.study, "--workspace", workspace, "--json"))
        costs = ("fit_s", "score_ms_per_image", "peak_memory_mb")
        return [{name: value for name, value in row.items() if name not in costs} for row in rows]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The package, installed, and its study run to the end in the workspace "whole"."""
    found = Bench(tmp_path_factory.mktemp("plugin"))
    outcome = found.run("whole")
    assert outcome["n_failed"] == 0
    return found


@pytest.mark.slow
def test_the_package_is_listed(bench: Bench) -> None:
    """Its method and its kind of dataset, by their entry points."""
    rows = {row["name"]: row for row in json.loads(bench.adloc("methods", "--json"))}
    assert rows["median_image"]["origin"] == "adloc-example 1.0"
    kinds = {row["kind"]: row for row in json.loads(bench.adloc("datasets", "--json"))}
    assert kinds["plates"]["origin"] == "adloc-example 1.0"
    assert "valid study" in bench.adloc("study", "validate", bench.study)


@pytest.mark.slow
def test_the_package_is_tuned_and_reported(bench: Bench) -> None:
    """The default and the setting that Optuna found, each with figures; a report that names it."""
    rows = [row for row in bench.figures("whole") if row["category"] == "plate"]
    assert [row["setting"] for row in rows] == ["default", "tuned"]
    assert all(row["status"] == "done" and row["pixel_auroc"] > 0.9 for row in rows)  # a missing mark is plain to see
    trials = list((bench.folder / "whole/studies/plugged/trials").rglob("[0-9]*.json"))
    assert len(trials) == 4
    bench.adloc("study", "report", bench.study, "--workspace", "whole")
    assert "median_image" in (bench.folder / "whole/studies/plugged/report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_killed_in_its_search_it_goes_on(bench: Bench) -> None:
    """After SIGKILL behind the first trial the same command ends with the figures of the run that was not killed."""
    process = bench.start("study", "run", bench.study, "--workspace", "killed")
    trials = bench.folder / "killed/studies/plugged/trials"
    deadline = time.monotonic() + 300
    while not list(trials.rglob("[0-9]*.json")) and process.code is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.signal(signal.SIGKILL)
    process.end(60)
    assert process.code == -signal.SIGKILL
    assert 1 <= len(list(trials.rglob("[0-9]*.json"))) < 4
    assert bench.run("killed")["n_failed"] == 0
    assert bench.figures("killed") == bench.figures("whole")


@pytest.mark.slow
def test_only_a_changed_source_is_computed_again(bench: Bench) -> None:
    """Run again, nothing; with another line in the package its search begins anew and every run is computed."""
    again = bench.run("whole")
    assert (again["n_computed"], again["n_stages"]) == (0, 0)
    module = bench.site / "adloc_example" / "median.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace("maps.max(axis=(1, 2))", "maps.mean(axis=(1, 2))"), encoding="utf-8")
    try:
        said = bench.adloc("study", "run", bench.study, "--workspace", "whole", expect=2)
        assert "--new-revision" in said
        changed = bench.run("whole", "--new-revision")
    finally:
        module.write_text(text, encoding="utf-8")
    assert changed["n_computed"] == changed["n_done"] > 0
    assert changed["n_stages"] > 0


def test_the_documentation_shows_the_package() -> None:
    """What a reader copies is what the tests run."""
    for text in (MEDIAN, PLATES, (PLUGIN / "pyproject.toml").read_text(encoding="utf-8")):
        assert f"\n{text.strip()}\n```" in page("extending")
