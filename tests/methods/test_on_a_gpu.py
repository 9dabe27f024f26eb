"""What a GPU is asked for: few waits of the host, resources that are shared, the CPU's neighbours."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from adloc.methods.patchcore import search
from adloc.methods.patchcore.coreset import pick_greedily
from adloc.methods.patchcore.search import MemoryBank, SegmentedBank, gpu_of, search_exactly
from adloc.methods.workers import spread
from points import draw_points

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_the_host_does_not_wait_at_each_pick() -> None:
    """But some times a table of candidates, of which dozens are picked."""
    points = draw_points("noise", 20_000, 32).cuda()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            pick_greedily(points, 2000)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    waits = sum("synchroniz" in str(each.message) for each in caught)
    assert 0 < waits < 2000 / 4


def test_matrix_products_come_first_in_a_thread() -> None:
    """No thread warns that cuBLAS found no context: the thread has one before."""
    torch.zeros(1, device=CUDA)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        products = list(spread(lambda each: each @ each, [torch.eye(8, device=CUDA)] * 8, 4))
    assert all(torch.equal(each, torch.eye(8, device=CUDA)) for each in products)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_neighbours_are_those_of_the_cpu(dtype: type[np.floating], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole or in segments that stay on the GPU."""
    monkeypatch.setattr(search, "_SEGMENT", 1024)
    bank = draw_points("noise", 3000, 24).numpy().astype(dtype)
    queries = draw_points("noise", 200, 24, seed=1).numpy().reshape(2, 100, 24)
    expected = search_exactly(bank, "euclidean", CPU).find(queries, 5)
    searched = search_exactly(bank, "euclidean", CUDA)
    assert isinstance(searched, MemoryBank if dtype == np.float32 else SegmentedBank)
    for _ in range(2):
        found = searched.find(queries, 5)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_allclose(found.squared, expected.squared, rtol=1e-4)


def test_searches_share_what_faiss_needs_of_a_gpu() -> None:
    """Getting it takes 0.1 s; with the last search it is let go."""
    if gpu_of(CUDA) is None:
        pytest.skip("FAISS sees no GPU")
    bank = draw_points("noise", 100, 8).numpy()
    first, second = MemoryBank(bank, "euclidean", CUDA), MemoryBank(bank, "euclidean", CUDA)
    assert first._gpu is second._gpu is gpu_of(CUDA)
    del first, second
    assert not search._GPUS
