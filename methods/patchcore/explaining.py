"""Which training patches are behind a score of PatchCore, and what is left of a score without an image's own patches.

Notation: N training images, H x W the patch grid, D values an embedding, m entries of the memory bank, K neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from adloc.methods.detector import Nearest, Patches
from adloc.methods.errors import MethodError
from adloc.methods.patchcore.search import gpu_of, search_exactly
from adloc.methods.workers import spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from adloc.methods.detector import Result
    from adloc.methods.patchcore.params import PatchCoreParams


_COPIES = 1 << 30  # bytes of the banks that are searched at a time


class OthersBank:
    """The memory bank without the entries of one image, for each image that it was made of.

    The coreset is not picked anew without the image: the entries of the others are those that the run's bank has.
    What the image's own entries covered is therefore covered a little worse than in a coreset without it.
    """

    def __init__(
        self, bank: NDArray[np.floating], origin: NDArray[np.int64], n_images: int, params: PatchCoreParams
    ) -> None:
        """Look how many neighbours every image's patches can have.

        Args:
            bank: (m, D), the entries.
            origin: int64 (m,), the number of the image from which each entry is.
            n_images: N.
            params: of the run.

        Raises:
            MethodError: nearly all entries are of one image.
        """
        self._bank, self._origin, self._metric = bank, origin, params.metric
        most_own = int(np.bincount(origin, minlength=n_images).max())
        self.n_neighbours = min(params.neighbours, len(bank) - most_own)
        needed = 1 if params.reweight == "none" else 2
        if self.n_neighbours < needed:
            raise MethodError(
                f"{most_own} of the {len(bank)} entries of the memory bank are of one training image",
                f"to score that image by the others takes at least {needed} of theirs",
                "raise coreset_ratio, or fit on more images",
            )

    def find_all(
        self, images: Iterable[NDArray[np.float32]], device: torch.device
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """What `find` does for every image in turn, with the distances as float32 (H, W, K).

        On a CPU several images are searched at a time, each by one thread in entries of its own: a single one has too
        few patches for many threads. Which of them shares the work changes no bit.

        Args:
            images: float32 (H, W, D) each; some are taken before they are searched, and must stay as they are.
            device: where to search.
        """

        def found(numbered: tuple[int, NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            image, patches = numbered
            distances, support = self.find(image, patches.reshape(-1, patches.shape[-1]), device)
            return distances.reshape(*patches.shape[:2], -1), support

        gpu = gpu_of(device)  # held for all of them
        n_bytes = self._bank.nbytes + 4 * self._bank.size  # of an image: the others' entries, and their index
        at_once = 1 if gpu else min(torch.get_num_threads(), _COPIES // n_bytes)
        numbered = enumerate(images)
        yield from spread(found, numbered, at_once) if at_once > 1 else map(found, numbered)

    def find(
        self, image: int, patches: NDArray[np.float32], device: torch.device
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Distances of an image's patches to the entries of the others.

        Args:
            image: its number.
            patches: float32 (H * W, D), its own.
            device: where to search.

        Returns:
            float32 (H * W, K), ascending; and float32 (1, K), the support of its furthest patch (see
            `MemoryBank.support`).
        """
        others = search_exactly(self._bank[self._origin != image], self._metric, device)
        found = others.find(patches[None], self.n_neighbours)
        worst = int(found.squared[:, 0].argmax())
        support = others.support(patches[worst : worst + 1], found.indices[worst : worst + 1, 0], self.n_neighbours)
        return others.to_distance(found.squared), support


def origins(coreset: Result, n_entries: int) -> Patches:
    """From which training patch each of the first entries of the bank is."""
    n_columns = int(coreset.facts["grid_width"])
    n_patches = int(coreset.facts["grid_height"]) * n_columns
    images, places = np.divmod(np.asarray(coreset.arrays["order"][:n_entries], dtype=np.int64), n_patches)
    return Patches(images, *np.divmod(places, n_columns))


def nearest_entries(search: Result, coreset: Result, patches: Patches, metric: str) -> Nearest:
    """The bank entry behind the distance of each of these patches: the search's own first neighbour.

    Args:
        search: of the scored part.
        coreset: of the train part.
        patches: of the scored part.
        metric: of the search.
    """
    here = (patches.images, patches.rows, patches.columns)
    entries = np.asarray(search.arrays["neighbours"])[(*here, 0)]
    made_of = origins(coreset, int(search.facts["n_entries"]))
    found = Patches(made_of.images[entries], made_of.rows[entries], made_of.columns[entries])
    distances = np.asarray(search.arrays["distances"])[(*here, 0)].astype(np.float32)
    return Nearest(found, distances, f"{metric} distance to the nearest entry of the memory bank")
