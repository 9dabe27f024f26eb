"""The number of threads changes no bit of what a method finds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from adloc.methods import find_method, load_detector
from adloc.methods.detector import StepContext
from adloc.methods.patchcore.search import MemoryBank
from adloc.uncertainty.pixel_bootstrap import PixelCounts, pixel_replicates
from detectors import CPU, HeldFeatures, take

# Every method of features but UniAD, whose training promises the same bits for the same number of threads alone.
METHODS: dict[str, dict[str, object]] = {
    "patchcore": {"coreset_ratio": 0.2},
    "softpatch": {"coreset_ratio": 0.2},
    "knn": {"layers": ["layer3", "layer4"]},
    "spade": {"layers": ["layer2", "layer3", "layer4"], "image_neighbours": 4},
    "mahalanobis": {"layers": ["layer2", "layer3", "layer4"]},
    "dfm": {"layers": ["layer3"], "pooling": 1},
    "padim": {"layers": ["layer2", "layer3"], "n_features": 90},
    # where several threads of MKL that factor matrices together fail, or never end
    "padim, 170 features": {"layers": ["layer2", "layer3"], "n_features": 170},
    "padim, of low rank": {"layers": ["layer2", "layer3"], "n_features": 170, "covariance": "low_rank"},
}
# Images, queries an image, values, bank entries: those of a study, and such as fill no product.
SEARCHES = [(1, 7, 5, 3), (3, 97, 129, 301), (2, 601, 384, 700), (16, 784, 96, 500), (70, 1, 2048, 60)]


def draw(n_images: int, seed: int) -> HeldFeatures:
    """Three layers of positive noise, large enough that libraries share their products among threads."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"layer2": (64, 15, 17), "layer3": (128, 8, 9), "layer4": (512, 4, 5)}
    maps = {layer: torch.rand(n_images, *shape, generator=generator) for layer, shape in shapes.items()}
    return HeldFeatures(maps, image_size=(120, 136))


def digest(array: object) -> str:
    """A hash of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def digests() -> dict[str, str]:
    """Of every array that every method makes, of some searches, and of pixel metrics in resamples."""
    found = {}
    for name, given in METHODS.items():
        method = find_method(name.partition(",")[0])
        params, detector = method.params.model_validate(given), load_detector(method)
        results = take(method, params, draw(19, seed=1), draw(9, seed=2))
        if method.leave_one_out is not None:
            context = StepContext(params, draw(19, seed=1), dict(results), 0, CPU)
            results["leave_one_out"] = getattr(detector, method.leave_one_out.name)(context)
        for step, result in results.items():
            arrays = {each: array for each, array in result.arrays.items() if each != "elapsed_s"}  # measured
            found |= {f"{name} {step} {each}": digest(array) for each, array in arrays.items()}
        if method.maps:
            patch_maps = np.asarray(results["scores"].arrays["patch_maps"])
            found[f"{name} maps"] = digest(detector.anomaly_maps(patch_maps, (120, 136), params))
    for sizes in SEARCHES:
        n_images, n_queries, dimension, n_entries = sizes
        rng = np.random.default_rng(sizes)
        bank = MemoryBank(rng.random((n_entries, dimension), dtype=np.float32), "euclidean", CPU)
        neighbours = bank.find(rng.random((n_images, n_queries, dimension), dtype=np.float32), 9)
        found[f"search {sizes}"] = digest(neighbours.squared) + digest(neighbours.indices)
    rng = np.random.default_rng(0)
    counted = (rng.integers(0, 9, (83, 111), dtype=np.uint32) for _ in range(2))
    counts = PixelCounts(*counted, rng.random((83, 111), dtype=np.float32), np.ones(83, np.uint32))
    drawn = rng.integers(0, 5, (1000, 83)).astype(np.float32)
    return found | {f"interval {name}": digest(each) for name, each in pixel_replicates(counts, drawn).items()}


def digests_with(n_threads: int) -> dict[str, str]:
    """The same from a process in which every library has so many threads."""
    code = "import json, test_threads; print(json.dumps(test_threads.digests()))"
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    environment = {**os.environ, "OMP_NUM_THREADS": str(n_threads), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-P", "-c", code],
        env=environment, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.slow
def test_results_have_the_same_bits_with_any_number_of_threads() -> None:
    """One, two and four threads of torch, FAISS, MKL and OpenBLAS: every array of every step."""
    alone = digests_with(1)
    assert len(alone) > len(METHODS) + len(SEARCHES)
    for n_threads in (2, 4):
        again = digests_with(n_threads)
        assert {name for name, each in alone.items() if again[name] != each} == set(), n_threads


@pytest.mark.parametrize("sizes", SEARCHES)
def test_a_search_has_the_same_bits_whatever_torch_is_told(sizes: tuple[int, int, int, int]) -> None:
    """One, two and five threads asked of torch in one process; an image alone has the bits that it has among all."""
    n_images, n_queries, dimension, n_entries = sizes
    rng = np.random.default_rng(sizes)
    bank = MemoryBank(rng.random((n_entries, dimension), dtype=np.float32), "euclidean", CPU)
    queries = rng.random((n_images, n_queries, dimension), dtype=np.float32)
    before = torch.get_num_threads()
    try:
        found = []
        for n_threads in (1, 2, 5):
            torch.set_num_threads(n_threads)
            found.append(bank.find(queries, 9))
    finally:
        torch.set_num_threads(before)
    for each in found[1:]:
        np.testing.assert_array_equal(each.squared, found[0].squared)
        np.testing.assert_array_equal(each.indices, found[0].indices)
    last = bank.find(queries[-1:], 9)
    np.testing.assert_array_equal(last.squared, found[0].squared[-n_queries:])
    np.testing.assert_array_equal(last.indices, found[0].indices[-n_queries:])
