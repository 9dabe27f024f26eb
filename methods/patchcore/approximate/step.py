"""The step that makes an index, and what later steps take up of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from adloc.methods.detector import Result
from adloc.methods.patchcore.approximate.bank import Effort, IndexedBank
from adloc.methods.patchcore.approximate.index import Index, build_index
from adloc.methods.patchcore.approximate.recall import choose_effort, sample_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from adloc.methods.detector import StepContext
    from adloc.methods.patchcore.params import PatchCoreParams

FACTS = (
    "looked",
    "spare",
    "recall",
    "recall_k",
    "n_sampled",
    "index_mb",
    "build_s",
    "us_per_patch",
    "exact_us_per_patch",
)


def make_index(
    context: StepContext,
    params: PatchCoreParams,
    bank_of: Callable[[Mapping[str, Result], PatchCoreParams], NDArray[np.floating]],
) -> Result:
    """See `PatchCore.index`; `bank_of` gives the bank at the run's ratio."""
    if params.search.index == "flat":
        raise ValueError("a flat search has no index")
    bank, start = bank_of(context.results, params), time.perf_counter()
    arrays = build_index(params.search.index, bank, context.seed, bounded=params.search.bounded)
    build_s = time.perf_counter() - start
    index, sample = Index(params.search.index, arrays, bank), sample_patches(context, params)
    chosen = choose_effort(index, bank, sample, params.neighbours, params.search, params.metric, context.device)
    return Result(
        arrays,
        {
            "looked": chosen.effort.looked,
            "spare": chosen.effort.spare,
            "recall": chosen.recall.first,
            "recall_k": chosen.recall.every,
            "n_sampled": len(sample),
            "index_mb": index.n_bytes / 1e6,
            "build_s": build_s,
            "us_per_patch": chosen.us_per_patch,
            "exact_us_per_patch": chosen.exact_us_per_patch,
        },
    )


def open_index(made: Result, bank: NDArray[np.floating], params: PatchCoreParams) -> IndexedBank:
    """The bank behind the index that `make_index` has made of it."""
    if params.search.index == "flat":
        raise ValueError("a flat search has no index")
    effort = Effort(int(made.facts["looked"]), int(made.facts["spare"]))
    return IndexedBank(bank, params.metric, Index(params.search.index, made.arrays, bank), effort)


def index_facts(made: Result) -> dict[str, float]:
    """What is recorded of an index, its names beginning with `index_`."""
    return {f"index_{name.removeprefix('index_')}": float(made.facts[name]) for name in FACTS}
