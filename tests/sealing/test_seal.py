"""The plan is sealed before its first test figure, and every other plan that saw the same test images is counted."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adloc.cli import cli
from adloc.datasets.checked import from_checked
from adloc.errors import UserError
from adloc.run import begin
from adloc.sealing.ledger import (
    Look,
    append,
    ledger_path,
    open_test,
    read_looks,
    seal_path,
    seal_study,
    sentences,
    standing,
)
from adloc.sealing.seal import read_seal
from adloc.study import prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from adloc.planning.plan import Plan

STUDY = """\
study: {name}
description: "{question}"
dataset: {{kind: mvtec_ad, root: {root}, categories: [{category}]}}
image: {{size: 32}}
regimes: [{regimes}]
split: {{seed: {seed}}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none}}
    grid: {{coreset_ratio: {ratios}}}
heatmaps: 2
models: none
"""
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty one."""
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def plan(mvtec_tree: Path, tmp_path: Path, workspace: Workspace) -> Any:
    """Makes the plan of a study that differs in what is named."""

    def make(**values: object) -> Plan:
        asked = {
            "name": "first", "question": "?", "root": mvtec_tree, "category": "gear", "regimes": "clean", "seed": 42,
            "ratios": [0.1], **values,
        }  # fmt: skip
        path = tmp_path / "study.yaml"
        path.write_text(STUDY.format(**asked))
        return prepare(path, [], workspace, download=False).plan

    return make


def looked(plan: Plan, workspace: Workspace) -> tuple[int, int]:
    """Other plans that saw the same images, before this one and since."""
    found = standing(plan, workspace)
    return found.before, found.since


def test_another_grid_is_a_second_look(plan: Any, workspace: Workspace) -> None:
    """The study with one ratio more is another plan: one came before it."""
    open_test(plan(), workspace, NOW, 0)
    wider = plan(ratios=[0.1, 0.5])
    assert looked(wider, workspace) == (1, 0)
    open_test(wider, workspace, NOW, 0)
    assert looked(wider, workspace) == (1, 0)
    assert looked(plan(), workspace) == (0, 1)


def test_running_again_is_no_second_look(plan: Any, workspace: Workspace) -> None:
    """The same plan enters the ledger once, however often it runs."""
    for _ in range(3):
        open_test(plan(), workspace, NOW, 0)
    assert len(read_looks(ledger_path(workspace))) == 1
    assert looked(plan(), workspace) == (0, 0)


def test_what_changes_no_figure_is_no_second_look(plan: Any, workspace: Workspace, mvtec_copy: Path) -> None:
    """Another description, or the same images elsewhere, is the same plan."""
    open_test(plan(), workspace, NOW, 0)
    assert looked(plan(question="the same, in other words", root=mvtec_copy), workspace) == (0, 0)


def test_two_studies_on_the_same_images_count_each_other(plan: Any, workspace: Workspace) -> None:
    """The one that came second knows of one before it, the first of one since."""
    open_test(plan(), workspace, NOW, 0)
    open_test(plan(name="second"), workspace, NOW, 0)
    assert looked(plan(name="second"), workspace) == (1, 0)
    assert looked(plan(), workspace) == (0, 1)


def test_another_category_is_another_test_part(plan: Any, workspace: Workspace) -> None:
    """Who looked at strips has not seen gears."""
    open_test(plan(name="second", category="strip"), workspace, NOW, 0)
    assert looked(plan(), workspace) == (0, 0)


@pytest.mark.parametrize("change", [{"seed": 7}, {"regimes": "clean, no_adaptation"}])
def test_images_count_whatever_their_split_and_domain(
    change: dict[str, object], plan: Any, workspace: Workspace
) -> None:
    """Another split shares most test images, and a shifted image is still the same object."""
    open_test(plan(), workspace, NOW, 0)
    assert looked(plan(**change), workspace) == (1, 0)


def test_a_torn_last_line_loses_nothing_else(plan: Any, workspace: Workspace) -> None:
    """A crash in the middle of a line leaves the looks before it and those after."""
    path = ledger_path(workspace)
    open_test(plan(), workspace, NOW, 0)
    with path.open("a") as file:
        file.write('{"plan": "abc", "stu')
    append(path, Look("b" * 64, "other", "t", ("0" * 16,)))
    assert [look.study for look in read_looks(path)] == ["first", "other"]
    with path.open("a") as file:
        file.write("[1]\n17\n")
    assert len(read_looks(path)) == 2


def test_a_damaged_line_counts_as_a_look_at_any_images(plan: Any, workspace: Workspace) -> None:
    """Nothing of it is believed, and it is not forgotten: a flipped bit makes no plan look less tried."""
    path, own = ledger_path(workspace), plan()
    append(path, Look("b" * 64, "other", "t", ("0" * 16,)))
    open_test(own, workspace, NOW, 0)
    assert looked(own, workspace) == (0, 0)  # of other images
    lines = path.read_bytes().splitlines()
    for place in range(30, len(lines[0]) - 1, 7):  # after the checksum
        damaged = bytearray(lines[0])
        damaged[place] ^= 1 << place % 8
        path.write_bytes(b"\n".join([bytes(damaged), lines[1], b""]))
        assert looked(own, workspace) == (1, 0), bytes(damaged)
    assert sentences(standing(own, workspace))[-1].startswith("Of these, 1 line of the workspace's ledger")
    path.write_bytes(b"\n".join([from_checked(lines[0]), lines[1], b""]))  # as an earlier version wrote it
    assert looked(own, workspace) == (0, 0)


def test_a_seal_is_kept_and_says_what_changed(plan: Any, workspace: Workspace) -> None:
    """The first plan stays sealed; a changed one is told by its dotted key, old and new value."""
    open_test(plan(), workspace, NOW, 0)
    assert standing(plan(), workspace).changed == ()
    assert (
        "The plan is the one that was sealed on 2026-01-02T03:04:05+00:00" in sentences(standing(plan(), workspace))[0]
    )
    wider = plan(ratios=[0.1, 0.5])
    open_test(wider, workspace, datetime(2027, 1, 1, tzinfo=UTC), 0)
    found = standing(wider, workspace)
    assert found.seal is not None
    assert found.seal.sealed == NOW.isoformat()
    assert found.changed == ("methods[0].grid.coreset_ratio: [0.1] -> [0.1, 0.5]", "runs: 1 more, 0 fewer")
    assert "is not the one that was sealed" in sentences(found)[0]
    assert "for 1 other plan before this one" in sentences(found)[-1]


def test_other_images_are_told_by_category_and_part(plan: Any, workspace: Workspace, mvtec_copy: Path) -> None:
    """The study file is the same and one test image is gone: the test part is named, the train part is not."""
    open_test(plan(), workspace, NOW, 0)
    gone = next(s for s in plan().runs[0].test.truth.part.samples if s.defect == "hole").name
    (mvtec_copy / "gear" / gone).unlink()
    (mvtec_copy / "gear" / "ground_truth" / "hole" / gone.rpartition("/")[2].replace(".png", "_mask.png")).unlink()
    (changed,) = standing(plan(root=mvtec_copy), workspace).changed
    assert changed.startswith("images, labels or masks of ")
    assert "gear/test/clean/0" in changed
    assert "gear/train/clean/0" not in changed


def test_a_reviewer_can_compute_the_hash_again(plan: Any, workspace: Workspace) -> None:
    """SHA-256 of the content as JSON, keys sorted, no spaces; a seal that was edited is refused."""
    open_test(plan(), workspace, NOW, 0)
    path = seal_path(workspace, "first")
    kept = json.loads(path.read_text())
    assert (
        kept["plan"] == sha256(json.dumps(kept["content"], sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    )
    kept["content"]["study"]["methods"][0]["grid"]["coreset_ratio"] = [0.5]
    path.write_text(json.dumps(kept))
    with pytest.raises(UserError, match="changed since it was written"):
        read_seal(path)


def test_a_seal_that_came_after_figures_says_so(plan: Any, workspace: Workspace) -> None:
    """Records of a version without seals: the plan matches, and was not sealed before they were seen."""
    open_test(plan(), workspace, NOW, 3)
    assert "3 runs of the study had test figures already" in sentences(standing(plan(), workspace))[1]


def test_a_sealed_study_is_not_sealed_with_another_plan(plan: Any, workspace: Workspace) -> None:
    """Sealing again is the first seal; sealing a changed plan is refused, with what changed."""
    first = seal_study(plan(), workspace, NOW, 0)
    assert seal_study(plan(), workspace, datetime(2027, 1, 1, tzinfo=UTC), 0) == first
    with pytest.raises(UserError, match=r"coreset_ratio: \[0.1\] -> \[0.5\]"):
        seal_study(plan(ratios=[0.5]), workspace, NOW, 0)
    assert read_looks(ledger_path(workspace)) == []


def adloc(*arguments: str | Path) -> str:
    """Run the command line in this process."""
    result = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
def test_from_seal_to_report(
    mvtec_tree: Path, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed before, entered before the first figure, and said by run and report: match, then what changed."""
    path, copy = tmp_path / "first.yaml", tmp_path / "first.seal.json"
    path.write_text(
        STUDY.format(
            name="first", question="?", root=mvtec_tree, category="gear", regimes="clean", seed=42, ratios=[0.1]
        )
    )
    where = ("--workspace", workspace.root)
    adloc("study", "seal", path, *where, "--output", copy)
    sealed = json.loads(copy.read_text())
    assert json.loads(seal_path(workspace, "first").read_text()) == sealed
    assert not (workspace.root / "studies" / "first" / "records").exists()
    seen: list[int] = []
    begun = begin.param_names  # the driver asks for them before a run is begun

    def noted(*given: Any) -> set[str]:
        seen.append(len(read_looks(ledger_path(workspace))))
        return begun(*given)

    monkeypatch.setattr(begin, "param_names", noted)
    shown = adloc("study", "run", path, *where)
    assert seen == [1]
    assert f"The plan is the one that was sealed on {sealed['sealed']}" in shown
    assert "for no other plans before this one" in shown
    wider = ("--set", "methods[0].grid.coreset_ratio=[0.1, 0.5]")
    told = json.loads(adloc("study", "run", path, *where, *wider, "--json"))["seal"]
    assert told["matches"] is False
    assert told["changed"][0] == "methods[0].grid.coreset_ratio: [0.1] -> [0.1, 0.5]"
    assert (told["plans_before"], told["plans_since"]) == (1, 0)
    assert "is not the one that was sealed" in adloc("study", "report", path, *where, *wider)
    page = (workspace.root / "studies" / "first" / "report.html").read_text()
    assert "is not the one that was sealed on" in page
    assert "for 1 other plan before this one" in page
