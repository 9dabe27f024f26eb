"""The report of a study, from its records alone: page, figures, tables, and the comparison of two studies."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

import commandline
from handmade import part_of, record_of, write

if TYPE_CHECKING:
    from pathlib import Path

from adloc.cli import cli
from adloc.datasets.checked import from_checked
from adloc.printed import escape_latex
from adloc.report.charts.drawing import Drawing
from adloc.report.charts.lines import Mark, pareto_front
from adloc.report.page import write_report
from adloc.report.tables import Table, count, figure, words
from adloc.study import prepare
from adloc.uncertainty.resampling import Interval
from adloc.workspace import Workspace

STUDY = """\
study: seen
description: Does the threshold of <this & that> survive?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation, threshold_only]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, smoothing_sigma: 1}}
    grid: {{coreset_ratio: [0.1, 0.5]}}
heatmaps: 4
models: none
"""


def adloc(*arguments: str | Path, expect: int = 0) -> str:
    """Run the command line in this process; what it printed."""
    return commandline.adloc(*arguments, expect=expect).stdout


@pytest.fixture(scope="module")
def study_file(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, written down."""
    path = tmp_path_factory.mktemp("study") / "seen.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return path


@pytest.fixture(scope="module")
def finished(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the study has run; to read only."""
    workspace = tmp_path_factory.mktemp("workspace")
    adloc("study", "run", study_file, "--workspace", workspace)
    return workspace


@pytest.fixture(scope="module")
def page(finished: Path) -> str:
    """The report that the run wrote."""
    return (finished / "studies" / "seen" / "report.html").read_text()


class Links(HTMLParser):
    """Collects ids, and everything that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.anchors: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag names and what it would fetch."""
        values = {name: value or "" for name, value in attrs}
        self.ids += [values["id"]] if "id" in values else []
        if tag == "a" and values.get("href", "").startswith("#"):
            self.anchors.append(values["href"][1:])
        for name in ("src", "href", "xlink:href", "data", "action"):
            if name in values and not values[name].startswith(("data:", "#")):
                self.fetched.append(values[name])


def test_page_needs_nothing_else(page: str) -> None:
    """No link, script, font or picture from anywhere: it opens from disk, and every anchor is there."""
    links = Links()
    links.feed(page)
    assert links.fetched == []
    assert not re.search(r"url\(\s*['\"]?(?!data:)|@import|https?://(?!www\.w3\.org/2000/svg)", page)
    assert set(links.anchors) <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))


def test_page_has_the_sections_that_the_study_has_data_for(page: str) -> None:
    """All that this study can show, and nothing of tuning or unified models, which it has not."""
    found = re.findall(r'<section id="([\w-]+)">', page)
    assert found == [
        "answer", "protocol", "operating", "leaderboard", "comparisons", "robustness", "scores", "curves", "trade-offs",
        "gallery", "hardest", "defect-types", "why-missed", "suspicious", "shift", "paper", "provenance",
    ]  # fmt: skip
    assert "Does the threshold of &lt;this &amp; that&gt; survive?" in page
    assert "<this" not in page


def test_protocol_counts_every_image_of_each_part(study_file: Path, finished: Path) -> None:
    """The counts on the page are those of the plan."""
    plan = json.loads(adloc("study", "plan", study_file, "--workspace", finished, "--json"))
    run = plan["runs"][0]
    table = (finished / "studies" / "seen" / "tables" / "report_protocol.csv").read_text().splitlines()
    images = [int(line.split(",")[2].split(".")[0]) for line in table[1:4]]
    assert images == [run["n_train"], run["n_val"], run["n_test"]]


def test_leaderboard_shows_the_recorded_figures(study_file: Path, finished: Path) -> None:
    """Every figure of the table is the result's own, and lies inside its interval."""
    import pandas as pd

    rows = json.loads(adloc("study", "results", study_file, "--workspace", finished, "--json"))
    table = pd.read_csv(finished / "studies" / "seen" / "tables" / "report_leaderboard.csv")
    assert len(table) == len(rows)
    for name, head in (("image_auroc", "image AUROC"), ("pixel_aupro", "PRO"), ("image_f1", "image F1")):
        assert sorted(table[head]) == pytest.approx(sorted(row[name] for row in rows))
        assert (table[f"{head} ci95_low"] <= table[head] + 5e-4).all()
        assert (table[f"{head} ci95_high"] >= table[head] - 5e-4).all()


def test_figures_are_written_as_svg_and_png(finished: Path) -> None:
    """Every chart twice (plates are pictures); the SVG is well-formed, the PNG opens, and none is left from before."""
    from xml.etree import ElementTree as ET

    from PIL import Image

    folder = finished / "studies" / "seen" / "figures"
    svg, png = ({p.stem for p in folder.glob(f"*.{kind}")} for kind in ("svg", "png"))
    assert svg == {name for name in png if not name.startswith("plate_")}
    assert {"overview_image_auroc", "robustness_image_f1", "roc_gear", "pro_strip"} <= svg
    assert any(name.startswith("ablation_patchcore_coreset_ratio_covering_radius") for name in svg)
    for name in svg:
        root = ET.parse(folder / f"{name}.svg").getroot()  # noqa: S314  our own file
        with Image.open(folder / f"{name}.png") as image:
            assert image.width == pytest.approx(3 * float(root.get("viewBox", "").split()[2]), abs=2)


def test_records_alone_suffice_and_the_report_repeats(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """Without store and MLflow the report is the same to the last byte."""
    workspace = tmp_path / "workspace"
    shutil.copytree(finished / "studies", workspace / "studies")
    path = workspace / "studies" / "seen" / "report.html"
    before = path.read_bytes()
    adloc("study", "report", study_file, "--workspace", workspace)
    assert path.read_bytes() == before
    assert not (workspace / "store").is_dir() or not list((workspace / "store").glob("*/*/*"))


def test_unfinished_study_has_a_report(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """With some of its runs, and with none, it says how far it is."""
    workspace = tmp_path / "workspace"
    shutil.copytree(finished / "studies", workspace / "studies")
    records = workspace / "studies" / "seen" / "records"
    for path in sorted(records.iterdir())[1:]:
        shutil.rmtree(path)
    adloc("study", "report", study_file, "--workspace", workspace)
    page = (workspace / "studies" / "seen" / "report.html").read_text()
    assert re.search(r"1 of 12 runs\s*<span class=\"pill\">not finished", page)
    shutil.rmtree(records)
    adloc("study", "report", study_file, "--workspace", workspace, "--output", tmp_path / "empty.html")
    assert "0 of 12 runs" in (tmp_path / "empty.html").read_text()


def test_finished_report_is_not_written_again(study_file: Path, finished: Path) -> None:
    """A run that finds nothing to do leaves the report as it is."""
    path = finished / "studies" / "seen" / "report.html"
    before = path.stat().st_mtime_ns
    adloc("study", "run", study_file, "--workspace", finished)
    assert path.stat().st_mtime_ns == before


def test_mlflow_parent_run_carries_the_report(finished: Path) -> None:
    """The page, the tables and the key figures are the parent run's artifacts."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{finished / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("seen")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`adloc.kind` = 'study'")
    top = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "tables", "figures"} <= top
    tables = {item.path for item in client.list_artifacts(parent.info.run_id, "tables")}
    assert {"tables/report_leaderboard.tex", "tables/report_comparisons.csv", "tables/results.csv"} <= tables
    assert client.list_artifacts(parent.info.run_id, "figures")


def test_records_of_the_first_version_are_still_read(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """Without pixel counts, facts and the pictures' text, the report has what is left."""
    workspace = tmp_path / "workspace"
    shutil.copytree(finished / "studies", workspace / "studies")
    for path in (workspace / "studies" / "seen" / "records").glob("*/record.json"):
        record = json.loads(from_checked(path.read_bytes()))
        del record["facts"], record["setting"]
        path.write_text(json.dumps(record))
        (path.parent / "pixels.npz").unlink()
    adloc("study", "report", study_file, "--workspace", workspace)
    header = (workspace / "studies" / "seen" / "tables" / "report_leaderboard.csv").read_text().splitlines()[0]
    assert "image AUROC ci95_low" in header
    assert "PRO ci95_low" not in header


def test_latex_tables_compile(finished: Path, tmp_path: Path) -> None:
    """Every table, in one document, without an error."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    folder = finished / "studies" / "seen" / "tables"
    nasty = Table(
        "nasty",
        "a_b & 50 % of ~x^2 {\\#}$",
        ("a_b", "Δ%"),
        ((words("<\N{EN DASH}≥…>"), figure(-0.5, 3, Interval(-1, 0))),),
    )
    (tmp_path / "nasty.tex").write_text(nasty.latex())
    tables = [*sorted(folder.glob("report_*.tex")), tmp_path / "nasty.tex"]
    assert len(tables) > 6
    inputs = "\n".join(f"\\input{{{path}}}\n\\clearpage" for path in tables)
    preamble = "\\documentclass{article}\n\\usepackage{booktabs,graphicx}\n\\begin{document}\n"
    (tmp_path / "all.tex").write_text(f"{preamble}{inputs}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_latex_escapes_what_it_would_read_as_commands() -> None:
    """Names of studies hold underscores, and captions per cents."""
    assert escape_latex("a_b 50 % {x} \\") == r"a\_b 50 \% \{x\} \textbackslash{}"


def test_csv_holds_full_figures_and_their_intervals() -> None:
    """A reader of the file gets more than the page shows; empty cells are empty."""
    table = Table(
        "t", "", ("name", "x"), ((words("a"), figure(0.123456, 3, Interval(0.1, 0.2))), (words("b"), figure(None)))
    )
    assert table.csv() == "name,x,x ci95_low,x ci95_high\na,0.123456,0.100,0.200\nb,,,\n"
    assert table.numeric(1)
    assert not table.numeric(0)
    assert count(12345).value == 12345


def test_pareto_front_holds_what_nothing_beats() -> None:
    """Against the definition, on random points: by the validation figure, whatever the test figure is."""
    rng = np.random.default_rng(0)
    drawn = [(x, y, v) for x, y, v in rng.integers(0, 8, (40, 3)).tolist()]
    marks = [Mark(str(i), x, y, validated=v) for i, (x, y, v) in enumerate(drawn)]
    front = {(m.x, m.validated) for m in pareto_front([*marks, Mark("not validated", 0, 99)])}
    expected = {(x, v) for x, _, v in drawn if not any(a <= x and b >= v and (a, b) != (x, v) for a, _, b in drawn)}
    assert front == expected


def test_drawings_escape_their_words() -> None:
    """A category may be named anything."""
    drawing = Drawing(10, 10, '<"&')
    drawing.text(0, 0, "<script>")
    drawing.dot(1, 1, "s0", hint="a<b")
    assert "<script>" not in drawing.svg()
    assert 'aria-label="&lt;&quot;&amp;"' in drawing.svg()


def test_compare_names_what_differs(study_file: Path, finished: Path, tmp_path: Path) -> None:
    """Two studies: the key of the spec, the parameter, the metrics, the images judged another way."""
    studies = tmp_path / "workspace" / "studies"
    shutil.copytree(finished / "studies" / "seen", studies / "seen")
    shutil.copytree(finished / "studies" / "seen", studies / "other")
    other = tmp_path / "other.yaml"
    other.write_text(study_file.read_text().replace("study: seen", "study: other").replace("[0.1, 0.5]", "[0.1, 0.02]"))
    changed = []
    for path in (studies / "other" / "records").iterdir():
        record = json.loads(from_checked((path / "record.json").read_bytes()))
        if record["params"]["coreset_ratio"] == 0.5 and record["regime"] == "clean":
            record["params"]["coreset_ratio"] = 0.02
            record["threshold"] = 1e9  # nothing is flagged any more
            record["metrics"]["image_f1"] = 0.0
            (path / "record.json").write_text(json.dumps(record))
            changed.append(record["run_id"])
        elif record["params"]["coreset_ratio"] == 0.5:
            shutil.rmtree(path)
    found = json.loads(adloc("study", "compare", study_file, other, "--workspace", tmp_path / "workspace", "--json"))
    assert found["spec"]["study"] == ["seen", "other"]
    assert found["spec"]["methods[0].grid.coreset_ratio"] == [[0.1, 0.5], [0.1, 0.02]]
    assert (len(found["pairs"]), len(found["only_first"]), len(found["only_second"])) == (8, 4, 0)
    for pair in found["pairs"]:
        assert pair["data"] == pair["environment"] == {}
        if pair["second"] not in changed:
            assert pair["metrics"] == pair["params"] == {}
            assert pair["flipped"] == []
            continue
        assert pair["params"] == {"coreset_ratio": [0.5, 0.02]}
        assert set(pair["metrics"]) == {"threshold", "image_f1"}
        assert {tuple(after) for _, *after in pair["flipped"]} <= {
            ("hit", "miss"), ("false alarm", "correct rejection"),
        }  # fmt: skip
        assert pair["flipped"]
    text = adloc("study", "compare", studies / "seen", studies / "other")
    assert "coreset_ratio: 0.5 -> 0.02" in text
    assert "images judged another way" in text


def test_compare_of_two_runs_says_that_their_images_differ(study_file: Path, finished: Path) -> None:
    """A clean run and a shifted one: the digests of the test parts differ, and each image is counted."""
    rows = json.loads(adloc("study", "results", study_file, "--workspace", finished, "--json"))
    one, other = (next(r for r in rows if r["regime"] == name) for name in ("clean", "no_adaptation"))
    found = json.loads(adloc("study", "compare", one["run_id"], other["run_id"], "--workspace", finished, "--json"))
    (pair,) = found["pairs"]
    assert pair["data"] == {"test": f"{one['n_test']} with other pixels, mask or shift"}
    for name, (before, after) in pair["metrics"].items():
        assert (before, after) == (one[name], other[name])


def test_compare_says_what_is_not_there(finished: Path) -> None:
    """A name that is neither file, folder nor run is a mistake of the user, in three lines."""
    result = CliRunner().invoke(cli, ["study", "compare", "nobody", "nothing", "--workspace", str(finished)])
    assert result.exit_code == 2
    assert "nobody: no such file" in result.stderr


def synthetic_records(study: Any, folder: Path) -> None:
    """A record for every run of a plan, with made-up scores and one real picture strip each."""
    from adloc.record.heatmaps import Caption, ColourScale, png_bytes, render

    rng = np.random.default_rng(0)
    image = (rng.uniform(60, 200, (64, 64, 1)) + np.zeros(3)).astype(np.uint8)
    scale, caption = ColourScale(0, 1, 2), Caption("x", True, 1.2, 1.0)
    strip = png_bytes(render(image, rng.uniform(0, 2, (8, 8)), np.zeros((64, 64), bool), scale, caption))
    curve = {"x": [0.0, 0.1, 1.0], "y": [0.0, 0.9, 1.0]}
    for run in study.plan.runs:
        samples = run.test.truth.part.samples
        path = folder / run.run_id
        labels = np.array([s.label for s in samples])
        scores = rng.normal(size=len(samples)) + labels
        metrics = {n: float(rng.uniform(0.7, 1)) for n in (
            "image_auroc", "image_auprc", "image_f1", "pixel_auroc", "pixel_aupro", "val_image_auroc", "image_fpr",
            "image_fnr", "fit_s", "score_ms_per_image", "model_mb")}  # fmt: skip
        write(path, record_of(run, threshold=0.5, metrics=metrics), {"test": part_of(samples, scores)})
        (path / "curves.json").write_text(json.dumps({"roc": curve, "precision_recall": curve, "pro": curve}))
        n = len(samples)
        counts = np.cumsum(rng.integers(1, 300, (n, 109)), axis=1)
        arrays = {
            "pixel_normal": counts.astype(np.uint32), "pixel_defect": (counts * labels[:, None]).astype(np.uint32),
            "pixel_overlap": (labels[:, None] * np.linspace(0.1, 1, 109)).astype(np.float32),
            "pixel_regions": labels.astype(np.uint32),
        }  # fmt: skip
        np.savez_compressed(path / "pixels.npz", **arrays)
        (path / "heatmaps").mkdir()
        for number, sample in enumerate(samples[:8]):
            name = sample.name.removeprefix("test/").rsplit(".", 1)[0].replace("/", "-")
            (path / "heatmaps" / f"{number:02d}-common-{name}.png").write_bytes(strip)


@pytest.mark.slow
def test_a_thousand_runs_stay_small(study_file: Path, tmp_path: Path) -> None:
    """1,000 runs give a page under 20 MB that says what it left out; how long it takes is printed, not tested."""
    ratios = [round(0.001 * (i + 1), 4) for i in range(125)]
    regimes = "[clean, no_adaptation, threshold_only, full_adaptation]"
    overrides = [f"methods[0].grid.coreset_ratio={ratios}", f"regimes={regimes}"]
    study = prepare(study_file, overrides, Workspace(tmp_path), download=False)
    assert len(study.plan.runs) == 1000
    synthetic_records(study, tmp_path / "studies" / "seen" / "records")
    start = time.perf_counter()
    report = write_report(study)
    print(f"1,000 runs: {time.perf_counter() - start:.1f} s, {report.page.stat().st_size / 1e6:.1f} MB")  # noqa: T201
    assert report.page.stat().st_size < 20e6
    assert re.search(r"of the 4000 recorded pictures are shown", report.page.read_text())
