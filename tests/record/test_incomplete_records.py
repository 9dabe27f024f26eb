"""Records that lack figures which their study reports now: said, completed from what is kept, and no verb's end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from adloc.answer.answer import kept_answer
from adloc.answer.material import REGIME_TITLES
from adloc.datasets.checked import add_checksum
from adloc.metrics.registry import CHOICES, METRICS
from adloc.record.beside import read_beside, write_beside
from adloc.record.files import read_checked
from adloc.record.reasons import NOT_ASKED, lacking, told
from adloc.record.records import Records, RunRecord
from adloc.study_file.regimes import REGIMES
from adloc.study_file.validation import load_study
from adloc.tracking.experiment import _named
from commandline import adloc
from handmade import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUDY = """\
study: aged
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: 32}}
regimes: [clean, no_adaptation]
methods: [{{method: floor}}]
heatmaps: 0
models: none
"""
NEWER = ("image_fpr", "pixel_auprc", "pixel_aupimo", "pixel_spro", "expected_fpr")
FIGURES = [name for name, metric in METRICS.items() if metric.level != "cost"]

# A metric and a regime more, as CONTRIBUTING.md adds them, before anything else has read the registries.
LATER = """\
import sys, types
from dataclasses import replace
from typing import Literal
import adloc.metrics.registry as metrics
import adloc.study_file.regimes as regimes

gap = types.ModuleType("gap")
gap.of = lambda scores, labels: float(scores[labels].mean() - scores[~labels].mean())
sys.modules["gap"] = gap
new = replace(metrics.METRICS["image_auroc"], name="image_gap", mlflow_name="image/gap", title="gap", function="gap:of")
twin = metrics._on_validation(new)
metrics.METRICS = {**metrics.METRICS, new.name: new, twin.name: twin}
metrics.CHOICES += (new.name,)
metrics.OF_IMAGES += (new,)
regimes.Regime = Literal["clean", "no_adaptation", "threshold_only", "full_adaptation", "source_threshold"]
regimes.REGIMES["source_threshold"] = regimes.Domains("shift", "clean", "shift")

import json
from click.testing import CliRunner
from adloc.cli import cli

for line in sys.stdin:
    done = CliRunner().invoke(cli, json.loads(line))
    print(json.dumps([done.exit_code, done.stdout, done.stderr]), flush=True)
"""


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "aged.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run; to read only."""
    workspace = tmp_path_factory.mktemp("finished")
    adloc("study", "run", study_file, "--workspace", workspace)
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to change."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


def run(file: Path, workspace: Path, *sets: str) -> dict[str, Any]:
    """Run the study; what was done."""
    asked = [part for each in sets for part in ("--set", each)]
    outcome: dict[str, Any] = json.loads(
        adloc("study", "run", file, "--workspace", workspace, "--json", *asked).stdout
    )["outcome"]  # fmt: skip
    return outcome


def figures(workspace: Path) -> dict[str, dict[str, float | None]]:
    """By run: every figure but costs."""
    found = Records(workspace / "studies" / "aged").all()
    return {r.run_id: {k: v for k, v in r.metrics.items() if METRICS[k].level != "cost"} for r in found}


def age(workspace: Path, lost: Callable[[int], set[str]]) -> None:
    """Take figures, with the reasons of those that are empty, out of the records: `lost` by number of the record."""
    folder = workspace / "studies" / "aged"
    for number, path in enumerate(sorted(folder.glob("records/*/record.json"))):
        content = json.loads(read_checked(path))
        for name in lost(number):
            for base in (name, f"val_{name}"):
                content["metrics"].pop(base, None)
                content["reasons"].pop(base, None)
        whole = RunRecord.model_validate(content)
        path.write_text(add_checksum(whole.model_dump_json(indent=1)))
    rows = json.loads(read_beside(folder / "results.json"))
    gone = {base for name in lost(0) for base in (name, f"val_{name}")}
    write_beside(folder / "results.json", json.dumps([{k: v for k, v in r.items() if k not in gone} for r in rows]))


def test_a_record_lacks_what_it_is_silent_on_or_was_not_asked_for() -> None:
    """Figures that are there, that are empty for a reason, and costs are not lacking; nor is what nobody asks for."""
    whole: dict[str, Any] = dict.fromkeys(FIGURES, 0.5)
    assert lacking(record(metrics=whole), CHOICES) == ()
    without = {name: value for name, value in whole.items() if name not in ("image_fpr", "val_image_fpr")}
    assert lacking(record(metrics=without), CHOICES) == ("image_fpr", "val_image_fpr")
    assert lacking(record(metrics=without), ("image_auroc",)) == ()
    said = {"image_fpr": "the test part has no normal image", "val_image_fpr": NOT_ASKED}
    assert lacking(record(metrics=without, reasons=said), CHOICES) == ("val_image_fpr",)
    on_test = {name: 0.5 for name in FIGURES if METRICS[name].part == "test"}
    assert lacking(record(metrics=on_test, n_val=0), CHOICES) == ()
    assert "val_image_auroc" in lacking(record(metrics=on_test), CHOICES)


def test_the_pixel_threshold_is_asked_for_with_its_f1() -> None:
    """A record without it lacks it where `pixel_f1` is measured, and only there."""
    there = {name: 0.5 for name in FIGURES if name != "pixel_threshold"}
    assert lacking(record(metrics=there), ("image_auroc", "pixel_f1")) == ("pixel_threshold",)
    assert lacking(record(metrics=there), ("image_auroc", "pixel_auroc")) == ()


def test_what_is_lacking_is_told_once_whatever_the_number_of_records() -> None:
    """The number of records, and each figure once, in the order of the columns."""
    sentence = told({"a": ("image_f1", "image_auroc"), "b": ("image_f1",)})
    assert sentence.startswith("2 records lack image_auroc, image_f1, which ")
    assert told({"a": tuple(CHOICES)}).startswith(f"1 record lacks image_auroc and {len(CHOICES) - 1} other figures, ")
    assert told({}) == ""


def test_mlflow_is_shown_what_this_version_knows_of_a_record() -> None:
    """A figure of another version's is left out; so is one that is empty."""
    assert _named({"image_auroc": 0.5, "image_f1": None, "of_a_later_version": 0.1}) == {"image/auroc": 0.5}


def test_results_of_an_earlier_version_have_the_newer_columns_empty(
    study_file: Path, workspace: Path
) -> None:  # fmt: skip
    """The tables as they were last written are read with every column of today, whatever they had then."""
    age(workspace, lambda _: set(CHOICES))
    folder = workspace / "studies" / "aged"
    _, spec = load_study(study_file)
    answer = kept_answer(spec, Records(folder), folder)
    assert answer is not None
    assert all(METRICS.keys() <= row.keys() for row in answer.rows)
    assert all(row["image_auroc"] is None for row in answer.rows)
    assert all(isinstance(row["fit_s"], float) for row in answer.rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(lambda _: set(NEWER), id="all-of-an-earlier-version"),
        pytest.param(lambda number: set(CHOICES[number::3]), id="each-of-another-version"),
    ],
)
def test_records_that_lack_figures_are_read_and_then_completed(
    study_file: Path, workspace: Path, lost: Callable[[int], set[str]]
) -> None:
    """Every verb reads them and says what they lack; the next run completes them to the bit, and computes no stage."""
    before = figures(workspace)
    age(workspace, lost)
    assert figures(workspace) != before
    by_file, by_name = (study_file, "--workspace", workspace), ("aged", "--workspace", workspace)
    for verb in ("status", "results"):
        for there in (by_file, by_name):
            assert "4 records lack " in adloc("study", verb, *there).stdout
    for there in (by_file, by_name):
        adloc("study", "report", *there)
    adloc("study", "track", *by_file)
    one, other = sorted(before)[:2]
    adloc("study", "compare", one, other, "--workspace", workspace)
    assert "4 records lack " in adloc("study", "plan", *by_file).stdout
    outcome = run(study_file, workspace)
    assert (outcome["n_computed"], outcome["n_stages"]) == (4, 0)
    assert figures(workspace) == before
    assert run(study_file, workspace)["n_computed"] == 0
    assert "lack" not in adloc("study", "status", *by_file).stdout


@pytest.mark.slow
def test_a_study_that_asks_for_more_metrics_completes_its_records(
    study_file: Path, finished: Path, tmp_path: Path
) -> None:
    """Only what measures scores is computed again, and every figure is that of a study which asked for all at once."""
    run(study_file, tmp_path, "evaluation.metrics=[image_auroc]")
    few = figures(tmp_path)
    assert all(found["pixel_aupro"] is None for found in few.values())
    outcome = run(study_file, tmp_path)
    # Of each category the validation part, and the test part clean and shifted; the pixel threshold on both of these.
    assert (outcome["n_computed"], outcome["n_stages"]) == (4, 2 * (1 + 2) + 2 * 2)
    assert figures(tmp_path) == figures(finished)


@pytest.fixture
def later(workspace: Path) -> Iterator[Callable[..., str]]:
    """What a command of `adloc study` prints in a process that knows the metric and the regime."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-P", "-c", LATER], stdin=pipe, stdout=pipe, text=True) as process:
        asked, answers = process.stdin, process.stdout
        assert asked is not None
        assert answers is not None

        def call(*arguments: str | Path) -> str:
            command = ["study", *map(str, arguments), "--workspace", str(workspace)]
            print(json.dumps(command), file=asked, flush=True)
            code, printed, errors = json.loads(answers.readline())
            assert code == 0, errors
            return str(printed)

        yield call


@pytest.mark.slow
def test_a_metric_and_a_regime_that_are_registered_later_are_computed(
    study_file: Path, workspace: Path, later: Callable[..., str]
) -> None:
    """Records from before get the metric from kept scores; the regime gets its runs, its results and its report."""
    for verb in ("status", "results", "report"):
        later(verb, "aged")
    before = figures(workspace)
    outcome = json.loads(later("run", study_file, "--json"))["outcome"]
    assert (outcome["n_computed"], outcome["n_stages"]) == (4, 2 * (1 + 2))
    records = Records(workspace / "studies" / "aged")
    for record_ in records.all():
        assert {name: record_.metrics[name] for name in before[record_.run_id]} == before[record_.run_id]
        for part, column in (("test", "image_gap"), ("validation", "val_image_gap")):
            scores = records.image_scores(record_.run_id, part)
            high, low = ([s.score for s in scores if s.anomalous is wanted] for wanted in (True, False))
            assert record_.metrics[column] == pytest.approx(np.mean(high) - np.mean(low), rel=1e-5)
    more = ("--set", "regimes=[clean, source_threshold]")
    assert json.loads(later("run", study_file, "--json", *more))["outcome"]["n_computed"] == 2
    rows = json.loads(later("results", study_file, "--json", *more))
    assert {row["regime"] for row in rows} == {"clean", "source_threshold"}
    later("report", study_file, *more)
    assert "source threshold" in (workspace / "studies" / "aged" / "report.html").read_text()


@pytest.mark.slow
def test_a_study_with_other_regimes_than_its_records_is_read(study_file: Path, workspace: Path) -> None:
    """Fewer, others and more: results and report are of those that are asked for and recorded."""
    asked = {
        "[clean]": {"clean"},
        "[no_adaptation]": {"no_adaptation"},
        "[no_adaptation, full_adaptation, clean]": {"clean", "no_adaptation"},
        "[threshold_only]": set(),
    }
    for regimes, there in asked.items():
        arguments = (study_file, "--workspace", workspace, "--set", f"regimes={regimes}")
        rows = json.loads(adloc("study", "results", *arguments, "--json").stdout)
        assert {row["regime"] for row in rows} == there
        adloc("study", "report", *arguments)
        adloc("study", "status", *arguments)


def test_every_regime_has_a_title() -> None:
    """What planning knows the report can name."""
    assert REGIME_TITLES.keys() == REGIMES.keys()
    assert REGIME_TITLES["threshold_only"] == "threshold only"
