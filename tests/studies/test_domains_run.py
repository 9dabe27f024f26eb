"""Studies from one domain to others, through the command line on tiny datasets."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

import commandline
from adloc.datasets import load_samples
from adloc.datasets.readers.mvtec_ad import MvtecAdConfig
from adloc.datasets.transform import ImageConfig
from adloc.metrics.registry import METRICS
from adloc.planning.parts import read_in_domain
from adloc.study_file.axes import StudyShift
from categories import write_layout_image

if TYPE_CHECKING:
    from pathlib import Path

STUDY = """\
study: {name}
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: [48, 64]}}
shift: {shift}
regimes: [clean, no_adaptation, threshold_only, full_adaptation]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.2}}
heatmaps: 1
models: none
"""
PHOTOMETRIC = "rotation_deg: null, scale: null, translation: null, blur: {probability: 0.5}, noise: {probability: 0.5}"


def adloc(*arguments: str | Path, code: int = 0) -> str:
    """Run the command line in this process; what it says."""
    result = commandline.adloc(*arguments, expect=code)
    return result.output if code else result.stdout


def results(file: Path, workspace: Path) -> list[dict[str, Any]]:
    """Run the study; its rows."""
    rows: list[dict[str, Any]] = json.loads(adloc("study", "run", file, "--workspace", workspace, "--json"))["results"]
    return rows


@pytest.fixture(scope="module")
def relit(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second root: every image as the simulated shift lights it, written down without loss; masks as they are."""
    root = tmp_path_factory.mktemp("relit")
    shutil.copytree(mvtec_tree / "gear" / "ground_truth", root / "gear" / "ground_truth")
    options = {"rotation_deg": None, "scale": None, "translation": None}
    shift = StudyShift.model_validate({**options, "blur": {"probability": 0.5}, "noise": {"probability": 0.5}}).plain()
    for sample in load_samples(MvtecAdConfig(kind="mvtec_ad", root=mvtec_tree, categories=("gear",))):
        picture = read_in_domain(sample, shift, ImageConfig())
        write_layout_image(root / "gear" / sample.name, picture.image)
    return root


def study(folder: Path, name: str, root: Path, shift: str) -> Path:
    """A study file."""
    path = folder / f"{name}.yaml"
    path.write_text(STUDY.format(name=name, root=root, shift=shift))
    return path


@pytest.fixture(scope="module")
def both(mvtec_tree: Path, relit: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    """Workspace, and rows of the simulated shift and of its images on disk."""
    folder = tmp_path_factory.mktemp("both")
    simulated = results(study(folder, "simulated", mvtec_tree, f"{{{PHOTOMETRIC}}}"), folder / "w")
    real = results(
        study(folder, "real", mvtec_tree, f"{{kind: domains, targets: {{new_camera: {relit}}}}}"), folder / "w"
    )
    return folder, simulated, real


@pytest.mark.slow
def test_shifted_images_on_disk_give_the_figures_of_the_simulated_shift(both: Any) -> None:
    """To the last digit, in every regime: a domain changes where images come from, and nothing else."""
    _, simulated, real = both
    timed = {m.name for m in METRICS.values() if m.level == "cost"}
    names = [n for n in METRICS if n not in timed and n in simulated[0]]
    assert len(simulated) == len(real) == 8
    for one, other in zip(simulated, real, strict=True):
        assert one["regime"] == other["regime"]
        assert [(n, one[n]) for n in names] == [(n, other[n]) for n in names]
        assert (one["domain"], other["domain"]) == (
            ("clean", "clean") if one["regime"] == "clean" else ("shift", "new_camera")
        )
    by_regime = {row["regime"]: row["pixel_auroc"] for row in real}
    assert by_regime["no_adaptation"] != by_regime["clean"]  # it could differ


@pytest.mark.slow
def test_mlflow_and_the_report_name_the_domain(both: Any) -> None:
    """A tag on every run; sentences on images of the target, and none that says what a simulation changes."""
    from mlflow import MlflowClient

    folder, _, _ = both
    client = MlflowClient(f"sqlite:///{folder / 'w' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("real")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.`adloc.kind` = 'run'")
    assert sorted(r.data.tags["adloc.domain"] for r in runs) == ["clean", "new_camera", "new_camera", "new_camera"]
    page = (folder / "w" / "studies" / "real" / "report.html").read_text()
    assert "on images of new_camera" in page
    assert "change" not in json.loads((folder / "w" / "studies" / "real" / "claims.json").read_text())[1]["text"]
    assert page.count('<section id="robustness') == 1


@pytest.mark.slow
def test_a_finished_study_of_domains_computes_nothing_again(both: Any) -> None:
    """Its records are found by what they are of."""
    folder, _, _ = both
    assert "(0 now, 0 stages computed)" in adloc("study", "run", folder / "real.yaml", "--workspace", folder / "w")


def write_blades(root: Path, train: tuple[str, ...] = ("same",)) -> None:
    """AeBAD-S in small: the blades of training, then under another light and from another side."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:48, :48]

    def blade(light: float, *, hole: bool = False) -> Any:
        pixels = (90 + 30 * np.sin(rows * 0.8)) * light + rng.normal(0, 3, (48, 48))
        pixels[np.hypot(rows - 24, columns - 20) < 6 * hole] = 10
        return np.repeat(pixels.clip(0, 255).astype(np.uint8)[:, :, None], 3, axis=2)

    lights = {"same": 1.0, "illumination": 1.5, "view": 0.7}
    for domain in train:
        for i in range(10):
            write_layout_image(root / f"train/good/{domain}/{i:02}.png", blade(lights[domain]))
    for domain, light in lights.items():
        for i in range(4):
            write_layout_image(root / f"test/good/{domain}/{i:02}.png", blade(light))
            write_layout_image(root / f"test/hole/{domain}/{i:02}.png", blade(light, hole=True))
            mask = (np.hypot(rows - 24, columns - 20) < 6).astype(np.uint8) * 255
            write_layout_image(root / f"ground_truth/hole/{domain}/{i:02}.png", mask)


def blades(folder: Path, shift: str, more: str = "") -> Path:
    """A study of the blades."""
    path = folder / "blades.yaml"
    path.write_text(
        f"study: blades\ndataset: {{kind: aebad_s, root: {folder / 'AeBAD_S'}}}\nshift: {shift}\n{more}"
        "image: {size: 48}\nregimes: [clean, no_adaptation, threshold_only, full_adaptation]\nmethods:\n"
        "  - method: patchcore\n    params: {backbone: efficientnet_lite0, neighbours: 2, coreset_ratio: 0.5}\n"
        "heatmaps: 0\n"
    )
    return path


def test_domains_of_one_root_are_told_apart_by_the_dataset(tmp_path: Path) -> None:
    """Source and targets by the folder's name; what a target lacks is said by plan and check."""
    write_blades(tmp_path / "AeBAD_S", ("same", "view"))
    file = blades(tmp_path, "{kind: domains, source: same, targets: [illumination, view]}")
    plan = json.loads(adloc("study", "plan", file, "--workspace", tmp_path / "w", "--json"))
    assert [(r["regime"], r["domain"], r["n_train"], r["n_val"], r["n_test"]) for r in plan["runs"]] == [
        ("clean", "clean", 8, 3, 7), ("no_adaptation", "illumination", 8, 3, 7), ("no_adaptation", "view", 8, 3, 7),
        ("threshold_only", "view", 8, 3, 7), ("full_adaptation", "view", 8, 3, 7),
    ]  # fmt: skip
    assert {(a["regime"], a["domain"]) for a in plan["absent"]} == {
        ("threshold_only", "illumination"), ("full_adaptation", "illumination"),
    }  # fmt: skip
    shown = adloc("study", "plan", file, "--workspace", tmp_path / "w")
    assert "not run: aebad_s, full_adaptation on illumination: it has no normal images to fit on" in shown
    checked = json.loads(adloc("data", "check", file, "--workspace", tmp_path / "w", "--json"))
    counts = {(row["domain"], row["part"]): row["images"] for row in checked["parts"]}
    assert counts == {
        (domain, part): n
        for domain, fitted in (("clean", (8, 3, 7)), ("illumination", (0, 1, 7)), ("view", (8, 3, 7)))
        for part, n in zip(("train", "validation", "test"), fitted, strict=True)
    }
    adloc("data", "preview", file, "--workspace", tmp_path / "w", "--output", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 3 * 48  # a row a domain


def test_all_that_is_of_no_target_is_the_source(tmp_path: Path) -> None:
    """Without a source: images of the other domains."""
    write_blades(tmp_path / "AeBAD_S", ("same", "view"))
    file = blades(tmp_path, "{kind: domains, targets: [illumination]}")
    plan = json.loads(adloc("study", "plan", file, "--workspace", tmp_path / "w", "--json"))
    clean = next(r for r in plan["runs"] if r["domain"] == "clean")
    assert (clean["n_train"], clean["n_test"]) == (16, 8 + 6)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [
        ("{kind: domains, targets: [veiw]}", "shift.targets[0] is veiw, and no image is of that domain"),
        ("{kind: domains, targets: [veiw]}", "did you mean view?"),
        ("{kind: domains, source: sam, targets: [view]}", "did you mean same?"),
        ("{kind: domains, targets: {new: /nowhere}}", "blades.yaml:3: /nowhere: no such folder"),
        ("{kind: domains, targets: [same, illumination, view]}", "every image is of one of them"),
    ],
)
def test_a_target_that_is_not_there_is_named(tmp_path: Path, shift: str, expected: str) -> None:
    """With the nearest that is, at its line of the study file."""
    write_blades(tmp_path / "AeBAD_S")
    assert expected in adloc("study", "plan", blades(tmp_path, shift), "--workspace", tmp_path / "w", code=2)


def test_a_root_that_tests_on_the_sources_training_images_is_refused(tmp_path: Path) -> None:
    """The same picture under another name and in another format."""
    write_blades(tmp_path / "AeBAD_S")
    write_blades(tmp_path / "new", ("view",))
    for path in (tmp_path / "AeBAD_S/train/good/same").iterdir():
        with Image.open(path) as image:
            image.save(tmp_path / "new/test/good/same" / f"copy_{path.stem}.bmp")
    file = blades(tmp_path, f"{{kind: domains, targets: {{new: {tmp_path / 'new'}}}}}")
    said = adloc("study", "plan", file, "--workspace", tmp_path / "w", code=2)
    assert "copy_00.bmp (test) = " in said
    assert "(train of the source): the same content" in said


@pytest.mark.slow
def test_real_and_simulated_shifts_stand_in_one_study(tmp_path: Path) -> None:
    """A block of the report and a sentence of the verdict for each; the results say which row is of which."""
    write_blades(tmp_path / "AeBAD_S", ("same", "illumination", "view"))
    shift = "{kind: domains, source: same, targets: [illumination, view], synthetic: {severity: 0.5}}"
    rows = results(blades(tmp_path, shift), tmp_path / "w")
    found = [(r["regime"], r["domain"]) for r in rows if r["category"] != "macro"]
    assert found == [
        ("clean", "clean"),
        *((regime, domain) for regime in ("no_adaptation", "threshold_only", "full_adaptation")
          for domain in ("illumination", "view", "shift")),
    ]  # fmt: skip
    page = (tmp_path / "w/studies/blades/report.html").read_text()
    for name in ("robustness", "robustness_view", "robustness_shift"):
        assert page.count(f'<section id="{name}">') == 1
    (verdict,) = [
        c["text"] for c in json.loads((tmp_path / "w/studies/blades/claims.json").read_text()) if c["kind"] == "verdict"
    ]
    for words in ("on images of illumination: ", "on images of view: ", "when light, pose and sensor change: "):
        assert words in verdict
    table = adloc("study", "results", tmp_path / "blades.yaml", "--workspace", tmp_path / "w")
    assert "domain" in table.splitlines()[0]
