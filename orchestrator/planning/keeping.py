"""Which backbone features a study keeps in the store, how many bytes they take, and whether the disk has the room.

Neither keys nor results depend on it. What is not kept passes the backbone anew whenever a step reads it: see
`adloc.computing.features.PassingFeatures`.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.errors import Complaint, UserError
from adloc.planning.parts import TrainPart
from adloc.planning.sources import FeatureStage, features_among

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from adloc.planning.stages import Stage
    from adloc.study_file.spec import KeptFeatures

SPARE_BYTES = 10**9  # left for fits, scores, records and pictures, which are not planned


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What features take of the disk.

    Attributes:
        n_images: whose features are to be kept and are not there yet.
        n_bytes: of their arrays.
        free_bytes: of the disk now.
    """

    n_images: int
    n_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        """ "features of 83 images will take 0.47 GB in the store, and 31 GB are free"."""
        return (
            f"features of {self.n_images} images will take {self.n_bytes / 1e9:.3g} GB in the store, and"
            f" {self.free_bytes / 1e9:.3g} GB are free"
        )


def is_kept(stage: FeatureStage, keep: KeptFeatures) -> bool:
    """Whether the features of a part stay in the store."""
    return keep == "all" or (keep == "train" and isinstance(stage.part, TrainPart))


def passing(stages: Iterable[Stage], keep: KeptFeatures) -> frozenset[str]:
    """Keys of the features stages that are not kept."""
    return frozenset(stage.key for stage in features_among(stages) if not is_kept(stage, keep))


def images_to_keep(stages: Iterable[Stage], keep: KeptFeatures) -> dict[str, FeatureStage]:
    """By key of an image's features that are to be kept: a stage that it is of. An image of two parts comes once."""
    kept = (stage for stage in features_among(stages) if is_kept(stage, keep))
    return {key: stage for stage in kept for key in stage.image_keys}


def plan_disk(
    stages: Iterable[Stage],
    keep: KeptFeatures,
    store_path: Path,
    is_there: Callable[[str], bool],
    image_bytes: Callable[[FeatureStage], int],
) -> DiskUse:
    """What the store will gain in features.

    Args:
        stages: of the runs that are to be computed.
        keep: `features.keep` of the study.
        store_path: the store's folder, which may not be there yet.
        is_there: whether the store has an image's features, by their key.
        image_bytes: of one image's features; asked once for each network and size, of which an image is missing.
    """
    missing = {key: stage for key, stage in images_to_keep(stages, keep).items() if not is_there(key)}
    sizes = {source: image_bytes(stage) for source, stage in {s.source: s for s in missing.values()}.items()}
    folder = next(path for path in (store_path, *store_path.parents) if path.exists())
    n_bytes = sum(sizes[stage.source] for stage in missing.values())
    return DiskUse(len(missing), n_bytes, shutil.disk_usage(folder).free)


def require_room(use: DiskUse, keep: KeptFeatures, store_path: Path) -> None:
    """Refuse to begin what would end on a full disk.

    Raises:
        UserError: the features, and something for all else, are more than the disk has free.
    """
    if not use.n_images or use.n_bytes + SPARE_BYTES <= use.free_bytes:
        return
    less = {"all": "train, or none", "train": "none"}.get(keep, "")
    raise UserError(
        Complaint(
            f"{store_path}: {use}",
            f"features that are kept must fit with {SPARE_BYTES / 1e9:g} GB to spare for all else",
            f"use features: {{keep: {less}}}, which passes images through the backbone again where they are read;"
            " or features: {dtype: float16}, which halves them; or free some space (`adloc store gc`); or use a"
            " --workspace on a larger disk",
        )
    )
