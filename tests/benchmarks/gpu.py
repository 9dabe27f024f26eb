"""Item p: the exact coreset on a CUDA device, against anomalib's there and against reading all points for each pick.

Not among the items that run when none is asked for: `run.py --only p`.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from adloc.datasets import load_samples
from adloc.datasets.textures import TexturesConfig
from adloc.datasets.transform import ImageConfig, prepare_image
from adloc.methods.backbone import resolve_weights
from adloc.methods.embedding import embed
from adloc.methods.network import load_backbone
from adloc.methods.patchcore.coreset import pick_greedily, projection_matrix
from adloc.methods.patchcore.params import PatchCoreParams
from adloc.methods.patchcore.possible import count_picks

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

PATCHES = 784  # an image of 224, 28 x 28
RATIO = 0.01
SIZES = (25_000, 100_000, 400_000, 1_600_000)
_AT_A_TIME = 32  # images
_PEERS_PICKS = 1000  # of anomalib's, at most; each costs the same


def coreset_on_gpu(*, quick: bool) -> dict[str, Any]:
    """Item p: 1 % of patches of ResNet-50, of 1,536 values and projected to 128; all picks of adloc's."""
    if not torch.cuda.is_available():
        return {"skipped": "no CUDA device"}
    device = torch.device("cuda")
    bytes_s = bandwidth(device)
    facts = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "copied_gb_s": round(bytes_s / 1e9),
        "gflops_float64": round(product_rate(device) / 1e9),
    }
    pick_greedily(torch.rand(5000, 64, device=device), 500)  # the libraries' own start
    rows: list[dict[str, Any]] = []
    for n in SIZES[:2] if quick else SIZES:
        raw = patches_on(device, n)
        rows += [compared(points, bytes_s) for points in (projected(raw), raw)]
    return {**facts, "rows": rows}


def compared(points: Tensor, bytes_s: float) -> dict[str, Any]:
    """Seconds of both, in turn, and what the card would need to read all points once a pick.

    Args:
        points: float32 (n, d), on the device.
        bytes_s: that the device reads and writes in a second.
    """
    from anomalib.models.components import KCenterGreedy

    n, dimension = points.shape
    n_picks = count_picks(RATIO, n)
    peers = min(n_picks, _PEERS_PICKS)
    seconds = [timed(lambda: pick_greedily(points, n_picks)) for _ in range(2)]
    # Three dimensions: taken as they are, not projected again.
    theirs = KCenterGreedy(points[:, :, None], (peers + 0.5) / n)
    each = timed(theirs.select_coreset_idxs) / peers
    waits = waits_of(lambda: pick_greedily(points, n_picks))
    return {
        "n_points": n,
        "dimension": dimension,
        "n_picks": n_picks,
        "adloc_s": [round(s, 3) for s in seconds],
        "anomalib_s": round(each * n_picks, 3),
        "anomalib_measured_picks": peers,
        "times_faster": round(each * n_picks / min(seconds), 1),
        "reading_all_each_pick_s": round(n_picks * 4 * n * dimension / bytes_s, 3),
        "host_waits_a_pick": round(sum(waits.values()) / n_picks, 4),
    }


def waits_of(function: Callable[[], object]) -> Counter[str]:
    """How often the host waits for the device, by the place where it does."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return Counter(f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message))


def timed(function: Callable[[], object]) -> float:
    """Wall seconds, with what the device still has to do."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def patches_on(device: torch.device, n: int) -> Tensor:
    """Embeddings float32 (n, 1536) of ResNet-50 with random weights: of textures, each moved, turned over and lit."""
    params = PatchCoreParams(backbone="resnet50")
    file = resolve_weights("resnet50", "random", seed=0, download=False)
    network = load_backbone("resnet50", file, params.layers, 0, device)
    samples = [s for s in load_samples(TexturesConfig(categories=("brick",), n_train=64)) if s.origin == "train"]
    images = torch.from_numpy(np.stack([prepare_image(s.source.read().image, ImageConfig()) for s in samples]))
    return varied_patches(images.to(device), partial(_embedded, network, params), n)


def varied_patches(images: Tensor, embedded: Callable[[Tensor], Tensor], n: int) -> Tensor:
    """Embeddings float32 (n, D) of images, again and again in another place, mirrored and lit otherwise.

    Args:
        images: float32 (N, 3, height, width), on the device.
        embedded: embeddings of a batch, (n', D).
        n: of patches.
    """
    rng = np.random.default_rng(0)
    found: Tensor | None = None
    n_made = 0
    while n_made < n:
        chosen = images[torch.from_numpy(rng.integers(len(images), size=_AT_A_TIME)).to(images.device)]
        moved = chosen.roll(tuple(rng.integers(images.shape[-1], size=2).tolist()), (2, 3))
        mirrored = moved.flip(3) if rng.integers(2) else moved
        made = embedded((mirrored * rng.uniform(0.8, 1.2)).clamp_(0, 1))[: n - n_made]
        if found is None:
            found = made.new_empty(n, made.shape[1])
        found[n_made : n_made + len(made)] = made
        n_made += len(made)
    assert found is not None
    return found


def projected(points: Tensor) -> Tensor:
    """Float32 (n, 128), as a study does it."""
    matrix = projection_matrix(points.shape[1], 128, 0)
    assert matrix is not None
    return points @ matrix.to(points.device)


def bandwidth(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.rand(1 << 29, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / min(timed(lambda: target.copy_(source)) for _ in range(5))


def product_rate(device: torch.device) -> float:
    """Operations a second of a large matrix product in float64."""
    n = 8192
    left, right = (torch.rand(n, n, dtype=torch.float64, device=device) for _ in range(2))
    return 2 * n**3 / min(timed(lambda: left @ right) for _ in range(3))


def _embedded(network: Callable[[Tensor], dict[str, Tensor]], params: PatchCoreParams, images: Tensor) -> Tensor:
    return embed(network(images), params).flatten(0, 2)


GPU_ITEMS = {"p": coreset_on_gpu}
