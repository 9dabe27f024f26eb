"""One index of item l: what a large memory bank costs to index, to hold and to search for an image, as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from grow import forget_peak, memory_mb

from adloc.methods.patchcore.approximate.bank import IndexedBank
from adloc.methods.patchcore.approximate.config import SearchConfig
from adloc.methods.patchcore.approximate.index import Index, build_index
from adloc.methods.patchcore.approximate.recall import N_SAMPLED, choose_effort
from adloc.methods.patchcore.search import Searched, search_exactly

DIMENSION, PATCHES, NEIGHBOURS = 1536, 784, 9
CPU = torch.device("cpu")


class Points:
    """Points near 12 dimensions, as patches are; the bank's, a sample's and an image's are drawn alike."""

    def __init__(self) -> None:
        """Place them."""
        self._rng = np.random.default_rng(0)
        self._plane = self._rng.standard_normal((12, DIMENSION), dtype=np.float32)

    def draw(self, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """float32 (n, DIMENSION)."""
        noise = self._rng.standard_normal((n, DIMENSION), dtype=np.float32)
        noise *= np.float32(0.1)
        noise += self._rng.standard_normal((n, 12), dtype=np.float32) @ self._plane
        return noise


def main(kind: str, n_entries: int, dtype: str, recall: str = "") -> None:
    """Index, choose an effort, search for one image."""
    points = Points()
    search = SearchConfig.model_validate({"index": kind} | ({"recall": float(recall)} if recall else {}))
    with TemporaryDirectory() as folder:
        file = Path(folder) / "bank.npy"
        written = np.lib.format.open_memmap(file, "w+", dtype, (n_entries, DIMENSION))
        for start in range(0, n_entries, 10_000):
            written[start : start + 10_000] = points.draw(min(10_000, n_entries - start))
        written.flush()
        del written
        bank, sample, image = np.load(file, mmap_mode="r"), points.draw(N_SAMPLED), points.draw(PATCHES)
        search_exactly(bank[:300], "euclidean", CPU).find(image[None], NEIGHBOURS)  # libraries are loaded
        forget_peak()
        before, clock = memory_mb("VmRSS"), time.process_time()
        row: dict[str, Any] = {
            "index": str(search),
            "n_entries": n_entries,
            "dtype": dtype,
            "bank_mb": round(bank.nbytes / 1e6),
        }
        found: Searched
        if kind == "flat":
            found = search_exactly(bank, "euclidean", CPU)
        else:
            arrays = build_index(kind, bank, 0, bounded=search.bounded)  # type: ignore[arg-type]
            row |= {"build_processor_s": round(time.process_time() - clock, 1)}
            row |= {"build_beyond_mb": round(memory_mb("VmHWM") - before)}
            index = Index(kind, arrays, bank)  # type: ignore[arg-type]
            chosen = choose_effort(index, bank, sample, NEIGHBOURS, search, "euclidean", CPU)
            row |= {
                "looked": chosen.effort.looked,
                "spare": chosen.effort.spare,
                "index_mb": round(index.n_bytes / 1e6),
            }
            row |= {"recall": round(chosen.recall.first, 4), "recall_k": round(chosen.recall.every, 4)}
            found = IndexedBank(bank, "euclidean", index, chosen.effort)
        forget_peak()
        clock, wall = time.process_time(), time.perf_counter()
        found.find(image[None], NEIGHBOURS)
        row |= {"image_processor_ms": round(1e3 * (time.process_time() - clock))}
        row |= {"image_ms": round(1e3 * (time.perf_counter() - wall)), "threads": torch.get_num_threads()}
        row |= {"search_beyond_mb": round(memory_mb("VmHWM") - before), "anonymous_mb": round(memory_mb("RssAnon"))}
    sys.stdout.write(json.dumps(row))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
