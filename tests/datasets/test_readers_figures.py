"""The same photographs in another layout give the same figures, through whole studies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from PIL import Image

from adloc.computing.compute import Workbench
from adloc.computing.store import Store
from adloc.planning.extents import Extents
from adloc.study import prepare
from adloc.workspace import Workspace
from layouts import LAYOUTS

if TYPE_CHECKING:
    from pathlib import Path

# All of training for fitting, all of the test for the figures.
WHOLE = {"kind": "official"}
WHOLE_FOLDER = {"train_fraction": 1, "validation_defects": 0}
ALIKE = ["mpdd", "btad", "visa", "real_iad", "aebad_s", "table", "folder"]


class Silent:
    """Hears of the work and says nothing."""

    def stage_started(self, *_: object) -> None:
        """Nothing."""

    stage_progress = stage_done = stage_started


@pytest.fixture(scope="session")
def commutators(industrial_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 + 4 normal and 6 defective commutators as PNG in the layout of MVTec AD, under two defect types."""
    source, root = industrial_root / "commutator", tmp_path_factory.mktemp("commutators") / "gear"

    def save(path: Path, name: str) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.save(root / name)

    for folder, n in (("train/good", 12), ("test/good", 4)):
        for i, path in enumerate(sorted((source / folder).iterdir())[:n]):
            save(path, f"{folder}/{i:03}.png")
    for i, path in enumerate(sorted((source / "test/defect").iterdir())[:6]):
        kind = ("glare", "hole")[i % 2]
        save(path, f"test/{kind}/{i:03}.png")
        save(source / "ground_truth/defect" / f"{path.stem}_mask.png", f"ground_truth/{kind}/{i:03}_mask.png")
    return root


def figures(kind: str, category: Path, folder: Path, workspace: Path) -> dict[str, float]:
    """The figures of a study of the images in a layout: a memory bank of every patch, on which no order bears."""
    root = folder / kind
    LAYOUTS[kind].write(category, root)
    place: dict[str, object] = {"file": str(root / "images.csv")} if kind == "table" else {"root": str(root)}
    params = {"backbone": "efficientnet_lite0", "coreset_ratio": 1}
    study = {
        "study": kind,
        "dataset": {"kind": kind, **place, **LAYOUTS[kind].config},
        "split": WHOLE_FOLDER if kind == "folder" else WHOLE,
        "image": {"size": 64},
        "heatmaps": 0,
        "thresholds": {"objective": "normal_max"},
        "methods": [{"method": "patchcore", "params": params}],
    }
    path = folder / f"{kind}.yaml"
    path.write_text(json.dumps(study))
    plan = prepare(path, (), Workspace(workspace), download=False).plan
    bench = Workbench(Store(workspace / "store"), Extents.of(plan), torch.device("cpu"), Silent())
    (run,) = plan.runs
    return {name: value for name, value in bench.result(run.test).facts.items() if isinstance(value, float)}


@pytest.mark.slow
def test_every_layout_gives_the_figures_of_mvtec_ad(commutators: Path, tmp_path: Path) -> None:
    """To the last digit: nothing of a layout but its images, labels and masks reaches a figure."""
    expected = figures("mvtec_ad", commutators, tmp_path, tmp_path / "w")
    assert expected.keys() >= {"image_auroc", "image_auprc", "pixel_auroc", "pixel_aupro", "pixel_aupro_005"}
    for kind in ALIKE:
        assert figures(kind, commutators, tmp_path, tmp_path / "w") == expected, kind


@pytest.mark.slow
def test_layouts_with_a_validation_part_give_the_same_figures(commutators: Path, tmp_path: Path) -> None:
    """MVTec AD 2 and MVTec LOCO AD, with the same images set aside: several masks an image are the one they join to."""
    one, other = (figures(kind, commutators, tmp_path, tmp_path / "w") for kind in ("mvtec_ad_2", "mvtec_loco"))
    assert one == other
