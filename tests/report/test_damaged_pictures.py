"""A damaged picture ends no verb that reads its record: it is named, with the way to get it back."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from adloc import Study
from categories import write_category
from commandline import adloc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow
STUDY = """\
study: pictured
dataset: {{kind: mvtec_ad, root: {root}}}
image: {{size: 48}}
shift: {{preset: mvtec_shift, severity: 1.0, seed: 42}}
regimes: [clean, no_adaptation]
methods:
  - {{method: patchcore, params: {{backbone: resnet18, weights: random, layers: [layer1]}}}}
heatmaps: 4
models: none
"""


def halved(content: bytes) -> bytes:
    """It ends early."""
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    """One bit in its middle is another one: most decoders draw it all the same."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]


def zeroed(content: bytes) -> bytes:
    """As a machine leaves a file that lost its power."""
    return bytes(len(content))


def emptied(_: bytes) -> bytes:
    """Nothing is left of it."""
    return b""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the study, its images and its workspace; to read only."""
    folder = tmp_path_factory.mktemp("pictured")
    write_category(folder / "data", "gear", 40, 48, channels=3, n_train=8, n_defects=4)
    (folder / "s.yaml").write_text(STUDY.format(root=folder / "data"))
    adloc("study", "run", folder / "s.yaml", "--workspace", folder / "w")
    return folder


@pytest.fixture
def workspace(ran: Path, tmp_path: Path) -> Path:
    """A copy of the workspace, to damage."""
    shutil.copytree(ran / "w", tmp_path / "w")
    return tmp_path / "w"


def pictures(workspace: Path) -> list[Path]:
    """Of all records and explanations."""
    study = workspace / "studies" / "pictured"
    return [*study.glob("records/*/heatmaps/*.png"), *study.glob("explained/*/*.png")]


def two(workspace: Path) -> list[Path]:
    """A picture of a record and one of an explanation, both of them in the report."""
    names = "00-common-glare-003.png", "suspicious-01.png"
    return [min(path for path in pictures(workspace) if path.name == name) for name in names]


@pytest.mark.parametrize("damage", [halved, flipped, zeroed, emptied])
def test_a_report_names_a_damaged_picture_and_goes_on(workspace: Path, damage: Callable[[bytes], bytes]) -> None:
    """On the page, on the terminal and as JSON; the pictures that are whole are shown, and no other one is named."""
    before = adloc("study", "report", "pictured", "--workspace", workspace, "--json")
    assert json.loads(before.stdout)["damaged"] == []
    page = workspace / "studies" / "pictured" / "report.html"
    n_shown = page.read_text().count("<img ")
    bad = two(workspace)
    for path in bad:
        path.write_bytes(damage(path.read_bytes()))
    said = adloc("study", "report", "pictured", "--workspace", workspace, "--json")
    named = json.loads(said.stdout)["damaged"]
    assert sorted(sentence.split(": ")[0] for sentence in named) == sorted(map(str, bad))
    assert all("run the study again" in sentence for sentence in named)
    shown = page.read_text()
    for path in bad:
        assert f"WARNING: {path}: " in said.stderr
        assert str(path) in shown
    # The run's map, the input of its domain, both images of the pair of domains, and the explanation's picture.
    assert shown.count("<img ") == n_shown - 5


def test_tables_and_comparisons_need_no_picture(ran: Path, workspace: Path) -> None:
    """With every picture damaged they are what they were, byte for byte."""
    asked = [
        ("study", "results", "pictured", "--format", "csv"),
        ("study", "results", "pictured"),
        ("study", "compare", "pictured", "pictured"),
        ("study", "status", "pictured"),
    ]
    expected = [adloc(*words, "--workspace", ran / "w").stdout for words in asked]
    for path in pictures(workspace):
        path.write_bytes(halved(path.read_bytes()))
    found = [adloc(*words, "--workspace", workspace) for words in asked]
    assert [each.stdout for each in found] == expected
    assert [each.stderr for each in found] == [""] * len(asked)


def test_what_the_sentence_says_brings_the_picture_back(ran: Path, workspace: Path) -> None:
    """Removed, and the study run again: the same picture, and a report that names none."""
    record, explained = two(workspace)
    whole = {path: path.read_bytes() for path in (record, explained)}
    for path in whole:
        path.write_bytes(flipped(path.read_bytes()))
    said = adloc("study", "report", "pictured", "--workspace", workspace, "--json")
    assert len(json.loads(said.stdout)["damaged"]) == 2
    record.unlink()
    shutil.rmtree(explained.parent)
    adloc("study", "run", ran / "s.yaml", "--workspace", workspace)
    assert {path: path.read_bytes() for path in whole} == whole
    assert "WARNING" not in adloc("study", "report", "pictured", "--workspace", workspace).stderr
    assert str(record) not in (workspace / "studies" / "pictured" / "report.html").read_text()


def test_mlflow_is_made_again_beside_a_damaged_picture(ran: Path, workspace: Path) -> None:
    """Every run is shown; the picture that cannot be drawn is not among what the UI compares."""
    for path in pictures(workspace):
        path.write_bytes(halved(path.read_bytes()))
    (workspace / "mlflow.db").unlink()
    (workspace / "studies" / "pictured" / "mlflow.json").unlink()
    shutil.rmtree(workspace / "artifacts")
    result = adloc("study", "track", ran / "s.yaml", "--workspace", workspace)
    assert "shows the 2 recorded runs" in result.stdout
    assert not list((workspace / "artifacts").rglob("images/heatmap*"))


def test_python_gets_the_pictures_that_are_whole(workspace: Path) -> None:
    """Heatmaps, a report and an explanation's sheet come with a warning, or without the picture, and never fail."""
    study = Study.named("pictured", workspace=workspace)
    run_id = str(study.results()["run_id"].iloc[0])
    n_whole = len(study.heatmaps(run_id))
    bad = next(path for path in pictures(workspace) if run_id in str(path))
    bad.write_bytes(zeroed(bad.read_bytes()))
    with pytest.warns(UserWarning, match=bad.name) as caught:
        found = study.heatmaps(run_id)
    assert {each.filename for each in caught} == {__file__}
    assert len(found) == n_whole - 1
    assert found._repr_png_() is not None
    with pytest.warns(UserWarning, match=bad.name) as caught:
        study.report()
    assert {each.filename for each in caught} == {__file__}
