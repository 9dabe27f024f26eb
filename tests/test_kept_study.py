"""A study that is named is read from its records: without its file, its images, its weights and its options."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: kept
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
methods:
- method: floor
heatmaps: 0
"""


@pytest.fixture(scope="module")
def finished(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The workspace of a study whose file and images are gone, and its results while they were there."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(mvtec_tree, folder / "images")
    (folder / "s.yaml").write_text(STUDY.format(root=folder / "images"))
    arguments = ("--workspace", folder / "w", "--set", "image.size=48")
    adloc("study", "run", folder / "s.yaml", *arguments)
    found = adloc("study", "results", folder / "s.yaml", *arguments, "--json").stdout
    shutil.rmtree(folder / "images")
    (folder / "s.yaml").unlink()
    return folder / "w", found


@pytest.mark.slow
def test_results_of_a_name_are_those_of_the_records(finished: tuple[Path, str]) -> None:
    """Equal to those of the file with its images and the same options."""
    workspace, found = finished
    assert adloc("study", "results", "kept", "--workspace", workspace, "--json").stdout == found
    assert "floor" in adloc("study", "results", "kept", "--workspace", workspace).stdout


@pytest.mark.slow
def test_status_and_comparison_of_a_name(finished: tuple[Path, str]) -> None:
    """Counts of the last plan; a study beside itself differs in nothing."""
    workspace = finished[0]
    told = json.loads(adloc("study", "status", "kept", "--workspace", workspace, "--json").stdout)
    assert (told["study"], told["runs"], told["done"], told["pending"]) == ("kept", 1, 1, 0)
    assert "1 of 1 runs done" in adloc("study", "status", "kept", "--workspace", workspace).stdout
    found = json.loads(adloc("study", "compare", "kept", "kept", "--workspace", workspace, "--json").stdout)
    assert found["spec"] == {}
    assert len(found["pairs"]) == 1


@pytest.mark.parametrize("verb", ["results", "status"])
def test_name_that_is_none_is_told(tmp_path: Path, verb: str) -> None:
    """With the way out; a missing file is still a missing file."""
    output = adloc("study", verb, "nothing", "--workspace", tmp_path, expect=2).output
    assert output.startswith("nothing: no such file, and no study of that name")
    assert "No such file" in adloc("study", verb, "nothing.yaml", "--workspace", tmp_path, expect=2).output
    (tmp_path / "studies" / "nothing").mkdir(parents=True)
    assert "no results yet" in adloc("study", verb, "nothing", "--workspace", tmp_path, expect=2).output


@pytest.mark.parametrize("command", [[], ["init"], ["study"], ["study", "run"]])
def test_help_shows_no_mark_of_its_maker(command: list[str]) -> None:
    r"""Click's \b keeps lines as they are and is not to be seen."""
    assert "\\b" not in adloc(*command, "--help").output
