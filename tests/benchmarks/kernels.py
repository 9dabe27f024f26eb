"""Items a, d and g: the coreset and PRO by themselves, against anomalib's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from machine import alternate, ratio

from adloc.datasets import DatasetConfig, load_samples
from adloc.datasets.readers.mvtec_ad import MvtecAdConfig
from adloc.datasets.textures import TexturesConfig
from adloc.datasets.transform import ImageConfig, prepare_image
from adloc.methods.backbone import resolve_weights
from adloc.methods.embedding import embed
from adloc.methods.network import load_backbone
from adloc.methods.patchcore.coreset import pick_greedily, projection_matrix
from adloc.methods.patchcore.params import PatchCoreParams
from adloc.methods.patchcore.partitioned import pick_in_parts
from adloc.methods.patchcore.possible import count_picks
from adloc.metrics.regions import aupro

if TYPE_CHECKING:
    from torch import Tensor

os.environ["TQDM_DISABLE"] = "1"  # anomalib's progress bar
SHARED = Path(__file__).resolve().parent.parent.parent.parent / "shared"
TRUNK = SHARED / "weights" / "resnet18_imagenet1k_v1_trunk.safetensors"
PATCHES = 784  # an image of 224, 28 x 28
# Training images of the fifteen MVTec AD categories (Bergmann et al. 2021, table 1).
MVTEC_TRAIN = (209, 224, 219, 280, 264, 391, 245, 220, 267, 320, 230, 60, 213, 247, 240)


def texture_points(n_images: int) -> Tensor:
    """Projected patches float32 (n_images * 784, 128) of normal textures, by EfficientNet-Lite0."""
    return projected_points(TexturesConfig(categories=("brick",), n_train=n_images), "efficientnet_lite0", "default")


def projected_points(config: DatasetConfig, backbone: str, weights: str) -> Tensor:
    """Projected patches float32 (n, 128) of the training images of one category at 224."""
    samples = [s for s in load_samples(config) if s.origin == "train"]
    params, image = PatchCoreParams(backbone=backbone), ImageConfig()
    file = resolve_weights(backbone, weights, seed=0, download=False)
    network = load_backbone(backbone, file, params.layers, 0, torch.device("cpu"))
    found: list[Tensor] = []
    matrix: Tensor | None = None
    for start in range(0, len(samples), 4):
        images = np.stack([prepare_image(s.source.read().image, image) for s in samples[start : start + 4]])
        patches = embed(network(torch.from_numpy(images)), params).flatten(0, 2)
        matrix = projection_matrix(patches.shape[1], 128, 0) if matrix is None else matrix
        found.append(patches if matrix is None else patches @ matrix)
    return torch.cat(found)


def covering_radius(points: Tensor, picks: list[int]) -> float:
    """The largest distance of a point to its nearest pick, in float64."""
    centres = points[picks].double()
    blocks = (points[i : i + 4096].double() for i in range(0, len(points), 4096))
    return float(max(torch.cdist(block, centres).amin(1).max() for block in blocks))


def coreset(*, quick: bool) -> dict[str, Any]:
    """Item a: Greedy coreset against anomalib's KCenterGreedy, both to the last pick, on the same projected patches.

    Ours is timed before and after anomalib's one run, which takes minutes at the full size. Both algorithms are the
    same greedy one; the covering radii tell whether ours is as good, from its own first centre and from anomalib's.
    """
    from anomalib.models.components import KCenterGreedy

    points = texture_points(20 if quick else 200)
    n_picks = count_picks(0.05, len(points))
    picked: dict[str, list[int]] = {}
    times: dict[str, list[float]] = {"anomalib": [], "adloc": []}

    def ours(name: str, first: int | None = None) -> None:
        picked[name] = pick_greedily(points, n_picks, first).order.tolist()

    def peers() -> None:
        torch.manual_seed(0)
        # Three dimensions: taken as they are, not projected again.
        picked["anomalib"] = KCenterGreedy(points[:, :, None], 0.05).select_coreset_idxs()

    for name, function in (("adloc", partial(ours, "adloc")), ("anomalib", peers), ("adloc", partial(ours, "adloc"))):
        start = time.perf_counter()
        function()
        times[name].append(round(time.perf_counter() - start, 2))
    ours("adloc_from_anomalibs_first_centre", picked["anomalib"][0])
    same = set(picked["anomalib"]) & set(picked["adloc_from_anomalibs_first_centre"])
    return {
        "n_points": len(points),
        "n_picks": n_picks,
        "adloc_s": times["adloc"],
        "anomalib_s": times["anomalib"],
        "times_faster": round(2 * times["anomalib"][0] / sum(times["adloc"]), 1),
        "goal": "at least 40 at 156,800 points, with as small a covering radius",
        "covering_radius": {name: round(covering_radius(points, order), 6) for name, order in picked.items()},
        "picks_in_common_from_the_same_first_centre": len(same),
    }


def pro(*, quick: bool) -> dict[str, Any]:
    """Item d: PRO against anomalib's AUPRO, on 83 maps of 224 x 224."""
    from anomalib.metrics.aupro import _AUPRO
    from scipy import ndimage

    rng = np.random.default_rng(0)
    n = 20 if quick else 83
    masks = np.stack([ndimage.gaussian_filter(rng.standard_normal((224, 224)), 12) > 0.05 for _ in range(n)])
    masks[::4] = False
    maps = ndimage.gaussian_filter(rng.standard_normal(masks.shape).astype(np.float32), (0, 4, 4)) + 0.05 * masks
    maps = ((maps - maps.min()) / np.ptp(maps)).astype(np.float32)
    found: dict[str, float] = {}

    def ours() -> None:
        found["adloc"] = aupro(maps, masks)

    def peers() -> None:
        metric = _AUPRO(fpr_limit=0.3)
        metric.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.float32)))
        found["anomalib"] = float(metric.compute())

    times = alternate(3 if quick else 7, anomalib=peers, adloc=ours)
    return {
        "n_maps": n,
        "values": found,
        "difference": abs(found["adloc"] - found["anomalib"]),
        "adloc_s": times["adloc"]["median_s"],
        "anomalib_s": times["anomalib"]["median_s"],
        "times_faster": ratio(times, "anomalib", "adloc"),
        "goal": "at least 3, equal to 1e-6",
    }


def growth(*, quick: bool) -> dict[str, Any]:
    """Item g: Time and peak memory of the coreset at 5 %, each size in a process of its own."""
    sizes = (25_000, 50_000) if quick else (25_000, 50_000, 100_000, 200_000, 400_000)
    rows = [_apart("grow.py", n) for n in sizes]
    n, seconds = rows[-1]["n_points"], rows[-1]["seconds"]
    return {
        "rows": rows,
        "exponent": round(float(np.polyfit(*np.log([[r["n_points"], r["seconds"]] for r in rows]).T, 1)[0]), 2),
        "all_15_mvtec_categories_s": round(sum(seconds * (PATCHES * images / n) ** 2 for images in MVTEC_TRAIN), 1),
        "reckoned": "the largest size's seconds times the square of the ratio of patches",
    }


def coresets(*, quick: bool) -> dict[str, Any]:
    """Item o: Processor seconds of the exact and the partitioned coreset with one thread, on patches of two kinds.

    Bottle's lie in clusters, which leaves most distances out; those of brick do not. Bottle is left out where the
    images or the weights are not there.
    """
    threads = torch.get_num_threads()
    points = {"brick": texture_points(20 if quick else 200)}
    if TRUNK.is_file() and not quick:
        bottle = MvtecAdConfig(root=str(SHARED / "data" / "industrial"), categories=("bottle",))
        points["bottle"] = projected_points(bottle, "resnet18", str(TRUNK))
    torch.set_num_threads(1)
    rows = []
    for name, whole in points.items():
        for n in (5_000, 15_000) if quick else (20_000, 60_000, 156_800):
            some = whole[torch.randperm(len(whole), generator=torch.Generator().manual_seed(1))[:n].sort().values]
            for pick in (pick_greedily, pick_in_parts):
                start = time.process_time()
                found = pick(some, count_picks(0.05, n))
                seconds = round(time.process_time() - start, 2)
                radius, reach = float(found.radius[-1]), float(found.reach)
                row = {"category": name, "n_points": n, "how": pick.__name__, "processor_s": seconds}
                rows.append(
                    row | {"radius_at_most": round(radius, 3), "factor": round(2 * radius / (radius - reach), 2)}
                )
    torch.set_num_threads(threads)
    return {"rows": rows}


def padim(*, quick: bool) -> dict[str, Any]:
    """Item n: PaDiM's fit with features of wide ResNet-50-2 at 224, each size in a process of its own."""
    sizes = [("60", "550", "low_rank"), ("209", "550", "low_rank"), ("2000", "100", "full")]
    if not quick:
        sizes += [("60", "550", "full"), ("209", "550", "full")]
    rows = [_apart("grow_padim.py", *size) for size in sizes]
    return {"rows": rows, "goal": "at most 6 GiB each"}


def large_maps(*, quick: bool) -> dict[str, Any]:
    """Item k: Memory of the pixel metrics of 20 maps beyond their inputs, each size in a process of its own."""
    sizes = [(256, 256), (512, 512)] if quick else [(512, 512), (1024, 1024), (2048, 2048), (2000, 2500)]
    found: dict[str, Any] = {}
    for mode in ("exact", "streaming"):
        rows = [_apart("grow_maps.py", mode, *size) for size in sizes]
        square = np.log([[row["height"], row["beyond_inputs_mb"]] for row in rows if row["height"] == row["width"]])
        found[mode] = {"rows": rows, "exponent_over_the_side": round(float(np.polyfit(*square.T, 1)[0]), 2)}
    return found


def large_banks(*, quick: bool) -> dict[str, Any]:
    """Item l: A memory bank of 1536 values an entry behind each index, each in a process of its own."""
    n_entries = 5_000 if quick else 270_000
    searches = ["flat float32", "flat float16", "ivf float32", "ivf float32 1", "ivfpq float32", "hnsw float32"]
    given = [(index, n_entries, *rest) for index, *rest in map(str.split, searches)]
    return {"rows": [_apart("grow_bank.py", *each) for each in given]}


def _apart(script: str, *given: object) -> dict[str, Any]:
    """What a script of this folder writes in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *map(str, given)]
    # A script finds its neighbours in its own folder, which PYTHONSAFEPATH, as make sets it for all, would leave out.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=own)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


KERNELS = {
    "a": partial(coreset),
    "d": partial(pro),
    "g": partial(growth),
    "k": partial(large_maps),
    "l": partial(large_banks),
    "n": partial(padim),
    "o": partial(coresets),
}
