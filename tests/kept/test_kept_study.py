"""A study that is named is read from its records: without its file, its images, its weights and its options."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from adloc import Study
from adloc.datasets.errors import DatasetError
from adloc.kept.study import as_study, read_study
from adloc.planning.plan import make_plan
from adloc.record.kept_inventory import read_inventory, write_inventory
from adloc.study import prepare
from adloc.workspace import Workspace
from commandline import adloc

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
@pytest.mark.parametrize(("at", "workspace"), [("", "."), ("studies", ".."), ("studies/kept", "../.."), ("..", "w")])
def test_a_name_and_a_workspace_are_found_from_any_folder(
    finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, at: str, workspace: str
) -> None:
    """Also from where the study's folder has its name; every verb that reads records says what it says elsewhere."""
    here = ("--workspace", workspace, "--json")
    there = ("--workspace", finished[0], "--json")
    verbs = (("results", "kept"), ("status", "kept"), ("compare", "kept", "kept"), ("track", "kept"))
    expected = [adloc("study", *verb, *there).stdout for verb in verbs]
    monkeypatch.chdir(finished[0] / at)
    assert [adloc("study", *verb, *here).stdout for verb in verbs] == expected
    assert json.loads(adloc("study", "report", "kept", *here).stdout)["page"].endswith("/w/studies/kept/report.html")


REPORTED = """\
study: reported
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 32}}
regimes: [clean, full_adaptation]
methods:
- method: floor
- method: patchcore
  params: {{backbone: resnet18, layers: [layer1], neighbours: 2, weights: {weights}}}
  tune: {{space: {{coreset_ratio: {{low: 0.1, high: 0.5}}}}, start: {{coreset_ratio: 0.2}}}}
tuning: {{trials: 2}}
heatmaps: 2
models: none
"""


@dataclass(frozen=True)
class Gone:
    """A study that was run where images and weights were.

    Attributes:
        file: of the study.
        workspace: without a store.
        page: of the report while they were there.
        keys: of all runs, by id.
    """

    file: Path
    workspace: Path
    page: str
    keys: dict[str, str]


@pytest.fixture(scope="module")
def gone(mvtec_tree: Path, trunk_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Gone:
    """A study with a search; images, weights and store are gone."""
    folder = tmp_path_factory.mktemp("gone")
    shutil.copytree(mvtec_tree, folder / "images")
    weights = folder / "w.safetensors"
    shutil.copy(trunk_weights, weights)
    (folder / "s.yaml").write_text(REPORTED.format(root=folder / "images", weights=weights))
    arguments = (folder / "s.yaml", "--workspace", folder / "w")
    adloc("study", "run", *arguments)
    adloc("study", "report", *arguments)
    prepared = prepare(folder / "s.yaml", (), Workspace(folder / "w"), download=False)
    keys = {run.run_id: run.key for run in prepared.plan.runs}
    shutil.rmtree(folder / "images")
    shutil.rmtree(folder / "w" / "store")
    weights.unlink()
    page = folder / "w" / "studies" / "reported" / "report.html"
    text = page.read_text()
    page.unlink()
    return Gone(folder / "s.yaml", folder / "w", text, keys)


@pytest.mark.slow
def test_report_of_records_is_the_report_with_everything_there(gone: Gone) -> None:
    """By name, by file, and in Python: the same page to the letter but for the file that it names; the same runs."""
    page = gone.workspace / "studies" / "reported" / "report.html"
    own = str(gone.workspace / "studies" / "reported" / "study.yaml")
    for arguments in (("reported",), (gone.file,)):
        result = adloc("study", "report", *arguments, "--workspace", gone.workspace)
        assert ("neither images nor weights were looked at" in result.stderr) == (arguments[0] != "reported")
        assert page.read_text().replace(own, str(gone.file)) == gone.page
        page.unlink()
    assert Path(Study.named("reported", workspace=gone.workspace).report()) == page
    with pytest.warns(UserWarning, match="neither images nor weights were looked at"):
        Study.load(gone.file, workspace=gone.workspace).report()
    again = as_study(read_study("reported", Workspace(gone.workspace)), Workspace(gone.workspace))
    assert {run.run_id: run.key for run in again.plan.runs} == gone.keys
    assert len(again.searches) == 1


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["results", "status", "report"])
def test_file_without_its_images_and_weights_is_answered_by_its_records(gone: Gone, verb: str) -> None:
    """What stands on stdout is the answer, a line on stderr says what was not looked at; other settings are refused."""
    by_file = adloc("study", verb, gone.file, "--workspace", gone.workspace, "--json")
    by_name = adloc("study", verb, "reported", "--workspace", gone.workspace, "--json")
    assert by_file.stdout == by_name.stdout
    assert by_name.stderr == ""
    told = by_file.stderr.splitlines()
    assert len(told) == 1
    assert told[0].startswith("from the records of reported alone")
    assert "no such file" in told[0] or "images" in told[0]
    where = ("--workspace", gone.workspace, "--set")
    other = adloc("study", verb, gone.file, *where, "image.size=48", expect=2).output
    assert "recorded with another image" in other
    elsewhere = adloc("study", verb, gone.file, *where, "dataset.root=/elsewhere", "--json")
    assert elsewhere.stdout == by_name.stdout


@pytest.mark.slow
def test_comparison_of_files_without_images(gone: Gone) -> None:
    """A study file stands for its records."""
    found = adloc("study", "compare", gone.file, "reported", "--workspace", gone.workspace, "--json").stdout
    assert len(json.loads(found)["pairs"]) == len(gone.keys)


@pytest.mark.slow
def test_record_without_what_it_was_planned_from_is_told(gone: Gone) -> None:
    """Of an earlier version, and damaged; results and status need it not."""
    kept = gone.workspace / "studies" / "reported" / "inventory.json"
    content = kept.read_bytes()
    try:
        for damaged in (None, content[:-40], content.replace(b"gear", b"gean", 1), b"[]"):
            kept.unlink() if damaged is None else kept.write_bytes(damaged)
            output = adloc("study", "report", "reported", "--workspace", gone.workspace, expect=2).output
            assert "inventory.json: is not there, or damaged" in output
            assert "run the study once where its images are" in output
            assert adloc("study", "results", "reported", "--workspace", gone.workspace).stdout
    finally:
        kept.write_bytes(content)


def test_plan_of_what_is_kept_is_the_plan_with_the_images(tmp_path: Path, mvtec_tree: Path) -> None:
    """Keys of all runs, where a shift moves defects out of the frame and such images are dropped."""
    shift = "shift: {translation: 0.5, scale: [3, 4], drop_vanished: true}\nregimes: [clean, no_adaptation]\n"
    (tmp_path / "s.yaml").write_text(STUDY.format(root=mvtec_tree) + shift)
    study = prepare(tmp_path / "s.yaml", (), Workspace(tmp_path / "w"), download=False)
    write_inventory(tmp_path, study.inventory, study.plan, study.weights)
    kept = read_inventory(tmp_path)
    assert kept is not None
    tested = [len(run.test.truth.part) for run in study.plan.runs]
    assert tested[1] < tested[0]
    assert [run.key for run in make_plan(study.spec, kept.inventory).runs] == [run.key for run in study.plan.runs]
    with pytest.raises(DatasetError, match="not part of what is recorded"):
        kept.inventory.samples[0].source.read()


def test_file_of_which_nothing_is_recorded_is_told_what_is_missing(tmp_path: Path) -> None:
    """As before: exit code 2, and the images' own words."""
    (tmp_path / "s.yaml").write_text(STUDY.format(root=tmp_path / "nowhere"))
    for verb in ("results", "status", "report"):
        output = adloc("study", verb, tmp_path / "s.yaml", "--workspace", tmp_path / "w", expect=2).output
        assert "nowhere" in output
        assert "from the records" not in output


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
