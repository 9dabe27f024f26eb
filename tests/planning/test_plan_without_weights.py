"""A study is planned before its weights are there: what rests on them is said to be unknown, and all else is known."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from adloc import Study
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: early
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 32}}
methods:
- method: patchcore
  params: {{backbone: resnet18, layers: [layer2], neighbours: 3, weights: {folder}/one.safetensors}}
  grid: {{coreset_ratio: [0.1, 0.5]}}
- method: patchcore
  params: {{backbone: resnet18, layers: [layer2], neighbours: 3, weights: {folder}/other.pth}}
- method: floor
{more}"""
TUNED = """\
- method: patchcore
  params: {{backbone: resnet18, layers: [layer2], weights: {folder}/one.safetensors}}
  tune: {{space: {{neighbours: {{type: int, low: 2, high: 9}}}}}}
tuning: {{trials: 3}}
"""


def study_file(folder: Path, images: Path, more: str = "") -> Path:
    """The study, with its two files of weights named and not written."""
    path = folder / "early.yaml"
    path.write_text(STUDY.format(root=images, folder=folder, more=more.format(folder=folder)))
    return path


def write_weights(folder: Path) -> None:
    """Two files: a plan reads no more than their bytes."""
    (folder / "one.safetensors").write_bytes(b"one")
    (folder / "other.pth").write_bytes(b"other")


@pytest.mark.parametrize("more", ["", TUNED], ids=["fixed", "tuned"])
def test_plan_is_that_with_the_weights_but_for_what_is_not_known(tmp_path: Path, mvtec_tree: Path, more: str) -> None:
    """The same runs, the same number of stages and trials; the six runs of two files are marked, the floor is not."""
    file = study_file(tmp_path, mvtec_tree, more)
    without = json.loads(adloc("study", "plan", file, "--workspace", tmp_path / "w", "--json").stdout)
    output = adloc("study", "plan", file, "--workspace", tmp_path / "w").stdout
    n_of_first = 4 + 2 * bool(more)
    assert f"not yet known: ids of {n_of_first} of {n_of_first + 4} runs" in output
    assert f"not yet known: ids of 2 of {n_of_first + 4} runs" in output
    assert "one.safetensors: no such file" in output
    write_weights(tmp_path)
    known = json.loads(adloc("study", "plan", file, "--workspace", tmp_path / "w", "--json").stdout)
    assert "not yet known" not in adloc("study", "plan", file, "--workspace", tmp_path / "w").stdout
    assert [each["weights"] for each in without.pop("weights_lacking")] == [
        f"{tmp_path}/one.safetensors",
        f"{tmp_path}/other.pth",
    ]
    for run, todo in zip(known["runs"], range(len(known["runs"])), strict=True):
        if run["method"] == "patchcore":
            run["run_id"] = known["pending"][todo] = None
    work = [[(line["kind"], line["todo"]) for line in each.pop("cost")["by_kind"]] for each in (without, known)]
    assert work[0] == work[1]
    assert without == known


def test_plan_in_python_says_the_same(tmp_path: Path, mvtec_tree: Path) -> None:
    """In its words, and without an error."""
    planned = Study.load(study_file(tmp_path, mvtec_tree), workspace=tmp_path / "w").plan()
    assert "not yet known: ids of 4 of 8 runs" in repr(planned)
    assert list(planned.runs["todo"]) == [True] * 8


def test_weights_that_lack_are_an_error_of_every_verb_that_computes(tmp_path: Path, mvtec_tree: Path) -> None:
    """And weights that are asked for wrongly are one of the plan too."""
    file = study_file(tmp_path, mvtec_tree)
    for verb in ("run", "seal"):
        assert "no such file" in adloc("study", verb, file, "--workspace", tmp_path / "w", expect=2).output
    wrong = ("--set", "methods[0].params.weights=imagenet")
    assert "it must be default, random" in adloc("study", "plan", file, *wrong, expect=2).output
