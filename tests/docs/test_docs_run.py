"""Every block of commands of README and docs/ is run, page by page, on the study files of `studies/` made small."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from adloc.datasets import load_samples
from adloc.datasets.textures import TexturesConfig
from categories import write_category
from checkout import ROOT
from commandline import adloc, call
from pages import blocks

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

RUN = [block for block in blocks() if block.language in ("sh", "console") and not block.excuse]
PAGES = list(dict.fromkeys(block.page for block in RUN))
N_TRAIN = 14
# Line by line, so that lines that a page names stay where they are.
SMALLER = {
    "size: 224": "size: 64",
    "backbone: resnet50": "backbone: efficientnet_lite0",
    "n_features: 100": "n_features: 20",
    "categories: [hazelnut, carpet, zipper]": "categories: [hazelnut]",
    "grid: {coreset_ratio: [0.01, 0.05, 0.10, 0.20]}": "grid: {coreset_ratio: [0.10, 0.20]}",
    "regimes: [clean, no_adaptation, threshold_only, full_adaptation]": "regimes: [clean]",
    "  kind: textures": f"  kind: textures\n  size: 64\n  n_train: {N_TRAIN}\n  n_test_good: 4\n  n_per_defect: 2",
    "  categories: [brick, grass, gravel]": "  categories: [brick]",
}
# In a command.
ALL_TEXTURES = "{kind: textures, categories: all}"
SOME_TEXTURES = "{kind: textures, categories: [brick], size: 64, n_train: 14, n_test_good: 4, n_per_defect: 2}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages take for granted: study files made small, images, and good parts that no model was fitted on."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "studies").mkdir()
    for name in ("quickstart", "mvtec_baseline", "coreset_ablation"):
        text = (ROOT / "studies" / f"{name}.yaml").read_text(encoding="utf-8")
        for said, instead in SMALLER.items():
            text = text.replace(said, instead)
        text = re.sub(r"^heatmaps: \d+$", "heatmaps: 1\nmodels: none", text, flags=re.MULTILINE)
        (folder / "studies" / f"{name}.yaml").write_text(text, encoding="utf-8")
    write_category(folder / "mvtec_ad", "hazelnut", 64, 64, channels=3)
    write_category(folder, "my_images", 64, 64, channels=3)
    wanted = TexturesConfig(categories=("brick",), size=64, n_train=313, n_test_good=4, n_per_defect=1)
    for sample in load_samples(wanted):
        number = int(sample.name.rpartition("/")[2].partition(".")[0])
        place = "photos" if sample.origin == "test" else "good_parts"
        if place == "photos" or number >= N_TRAIN:
            path = folder / place / f"{sample.name.replace('/', '-')}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(sample.source.read().image).save(path)
    return folder


@pytest.fixture
def room(bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for one page, with all that is on the bench, and the workspace of all pages: its quick start has run."""
    for path in bench.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ADLOC_WORKSPACE", str(bench / "workspace"))
    monkeypatch.setenv("MVTEC_AD_ROOT", str(bench / "mvtec_ad"))
    adloc("study", "run", "studies/quickstart.yaml")


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("page", PAGES)
def test_commands_do_what_the_page_says(page: str) -> None:
    """Each ends well; one whose output is shown says that and nothing else."""
    ran = 0
    for block in (each for each in RUN if each.page == page):
        for words in block.commands():
            command = [word.replace(ALL_TEXTURES, SOME_TEXTURES) for word in words]
            assert command[0] == "adloc", f"{block}: say in a comment above why `{command[0]}` is not run"
            result = call(*command[1:])
            ran += 1
            if block.language == "console":
                shown = re.sub(r"^\$ .*\n", "", block.text, flags=re.MULTILINE)
                assert result.output == shown, block
            else:
                assert result.exit_code == 0, f"{block}: {command}\n{result.output}"
    assert ran
