"""Shared fixtures: the real data beside the project (when it is there), small datasets made on the spot."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from categories import write_category
from checkout import ROOT, SHARED
from migrated import migrate_once
from spread import STUDY, TUNED, ran_here, reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

    from chromium import Chromium
    from packages import Packages

# At the repository root our folder `datasets/` would shadow the package of the same name.
sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]

# A server that this shell tracks to is none of the tests'.
for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
    os.environ.pop(name, None)

# No timed tests: a machine that is busy with something else proves nothing wrong.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no worker is left with a long one when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before the fixtures of a test."""
    migrate_once()


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Say how many faults the tests of tests/faults have caused, by kind: those that adloc told or survived."""
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            if name == "faults":
                counts[value[0]] += value[1]
    for kind, n in sorted(counts.items()):
        terminalreporter.write_line(f"faults: {n} {kind}")


@pytest.fixture(scope="session")
def industrial_root() -> Path:
    """Folder of the real categories bottle and commutator."""
    path = SHARED / "data" / "industrial"
    if not path.is_dir():
        pytest.skip("the real images of ../shared/data are not here")
    return path


@pytest.fixture(scope="session")
def trunk_weights() -> Path:
    """Weights of ResNet-18 up to layer3, published ImageNet values."""
    path = SHARED / "weights" / "resnet18_imagenet1k_v1_trunk.safetensors"
    if not path.is_file():
        pytest.skip("the weights of ../shared/weights are not here")
    return path


@pytest.fixture(scope="session")
def mvtec_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of a tiny dataset, to read only: categories "gear" (RGB, 64 x 64) and "strip" (grey, 40 x 90)."""
    root = tmp_path_factory.mktemp("mvtec_tree")
    write_category(root, "gear", 64, 64, channels=3)
    write_category(root, "strip", 40, 90, channels=1)
    return root


@pytest.fixture
def mvtec_copy(mvtec_tree: Path, tmp_path: Path) -> Path:
    """Root of a copy of `mvtec_tree` that the test may change; its files look a day old."""
    root = tmp_path / "dataset"
    shutil.copytree(mvtec_tree, root)
    yesterday = time.time() - 86_400
    for path in root.rglob("*"):
        os.utime(path, (yesterday, yesterday))
    return root


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """A folder on the import path for packages that the test makes up."""
    from packages import Packages

    found = Packages(tmp_path / "site")
    found.site.mkdir()
    monkeypatch.syspath_prepend(found.site)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two texts of one second and length look the same to it
    found.forget()
    yield found
    monkeypatch.undo()
    found.forget()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A headless Chromium."""
    from chromium import Chromium

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    chromium = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def no_report() -> Iterator[None]:
    """For files that do not look at the report of a study."""
    with reports(written=False):
        yield


@pytest.fixture(scope="session")
def spread_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `spread`, written down."""
    path = tmp_path_factory.mktemp("spread") / "spread.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="session")
def spread_tuned_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study of `spread` that tunes, written down."""
    path = tmp_path_factory.mktemp("spread_tuned") / "spread.yaml"
    path.write_text(TUNED.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="session")
def spread_local(spread_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study of `spread` has run in one process; to read only."""
    return ran_here(spread_file, tmp_path_factory.mktemp("spread_local"))


@pytest.fixture(scope="session")
def spread_tuned_local(spread_tuned_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the one that tunes."""
    return ran_here(spread_tuned_file, tmp_path_factory.mktemp("spread_tuned_local"), report=True)
