"""A report that cannot be written takes nothing from a study that was run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from adloc.answer.claim import Claim, write_claims
from adloc.report import sections
from commandline import call as adloc

STUDY = """\
study: broken_page
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none}}
heatmaps: 2
models: none
"""


def ended(workspace: Path) -> str:
    """MLflow's status of the study."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    (study,) = [r for r in client.search_runs(experiments) if "mlflow.parentRunId" not in r.data.tags]
    return str(study.info.status)


def failing(*_: object) -> None:
    """A section with a mistake in it."""
    message = "a mistake in the protocol"
    raise ZeroDivisionError(message)


@pytest.fixture
def study_file(mvtec_tree: Path, tmp_path: Path) -> Path:
    """The study, written down."""
    path = tmp_path / "broken_page.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def shared_workspace(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study ran while a section of its report raised; to read only."""
    folder = tmp_path_factory.mktemp("broken")
    path = folder / "broken_page.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sections, "protocol", failing)
        result = adloc("study", "run", path, "--workspace", folder / "workspace")
    (folder / "exit_code").write_text(str(result.exit_code))
    (folder / "stdout").write_text(result.stdout)
    (folder / "stderr").write_text(result.stderr)
    return folder


@pytest.fixture
def workspace(shared_workspace: Path, tmp_path: Path) -> Path:
    """A copy, to change."""
    return Path(shutil.copytree(shared_workspace / "workspace", tmp_path / "workspace"))


def test_a_study_whose_report_fails_has_ended_well(shared_workspace: Path) -> None:
    """Exit code 0, the table on the terminal and on disk, MLflow says FINISHED."""
    assert (shared_workspace / "exit_code").read_text() == "0"
    shown = (shared_workspace / "stdout").read_text()
    assert "1 runs done (1 now" in shown
    assert "image_auroc" in shown
    assert (shared_workspace / "workspace" / "studies" / "broken_page" / "results.csv").exists()
    assert ended(shared_workspace / "workspace") == "FINISHED"


def test_the_terminal_says_that_there_is_no_report_and_what_to_do(shared_workspace: Path) -> None:
    """The reason, where all of it is, and the command that tries again; no traceback."""
    said = (shared_workspace / "stderr").read_text()
    assert "the report could not be written: ZeroDivisionError: a mistake in the protocol" in said
    assert "`adloc study report" in said
    assert "tries again" in said
    assert "Traceback" not in said
    kept = (shared_workspace / "workspace" / "studies" / "broken_page" / "report_error.txt").read_text()
    assert kept.startswith("Traceback")
    assert "a mistake in the protocol" in kept


def test_the_next_good_report_clears_the_mark(study_file: Path, workspace: Path) -> None:
    """`adloc study report` writes the page and removes the reason why there was none."""
    folder = workspace / "studies" / "broken_page"
    adloc("study", "report", study_file, "--workspace", workspace)
    assert (folder / "report.html").exists()
    assert not (folder / "report_error.txt").exists()


def test_a_finished_study_run_again_tries_the_report_again(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With nothing to do a failing report is no failure either; once it can be written, it is."""
    folder = workspace / "studies" / "broken_page"
    with monkeypatch.context() as patch:
        patch.setattr(sections, "protocol", failing)
        result = adloc("study", "run", study_file, "--workspace", workspace)
    assert result.exit_code == 0
    assert "(0 now, 0 stages computed)" in result.stdout
    assert "could not be written" in result.stderr
    assert ended(workspace) == "FINISHED"
    result = adloc("study", "run", study_file, "--workspace", workspace)
    assert "could not be written" not in result.stderr
    assert (folder / "report.html").exists()
    assert not (folder / "report_error.txt").exists()


def test_a_reports_own_verb_still_shows_a_bug(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks for the report alone sees the traceback: a bug is never hidden."""
    monkeypatch.setattr(sections, "protocol", failing)
    with pytest.raises(ZeroDivisionError):
        adloc("study", "report", study_file, "--workspace", workspace)


def test_claims_of_an_earlier_answer_are_not_taken_for_this_ones(
    study_file: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report that fails before its claims leaves none; `run` prints those that are there."""
    write_claims((Claim("use", ("x",), "Use what was best yesterday."),), workspace / "studies" / "broken_page")
    monkeypatch.setattr("adloc.answer.material.gather", failing)
    found = adloc("study", "run", study_file, "--workspace", workspace)
    assert (found.exit_code, "the report could not be written" in found.stderr) == (0, True)
    assert "yesterday" not in found.stdout
