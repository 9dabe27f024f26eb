"""The results of stages in a study's store beside those that were computed again into another.

The study's store is only read: no file of it is touched, moved or noted as used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.computing.compute import is_whole
from adloc.computing.reading import IMAGES_READ
from adloc.computing.store import DamagedError, read_result
from adloc.planning.parts import TestPart, TrainPart, ValidationPart
from adloc.planning.sources import FeatureStage
from adloc.planning.stages import (
    EvaluationStage,
)
from adloc.record.audit import audit
from adloc.verify.bits import difference, is_time
from adloc.verify.compared import Compared, listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adloc.computing.store import Store
    from adloc.methods.detector import Result
    from adloc.planning.parts import Part
    from adloc.planning.plan import Run
    from adloc.planning.stages import Stage

_PARTS: tuple[tuple[type[Part], str], ...] = ((TrainPart, "train"), (ValidationPart, "validation"), (TestPart, "test"))


def compare_stage(stage: Stage, kept: Store, made: Store) -> Compared | None:
    """What is kept of a stage beside what was made; None for a stage that has no result of its own.

    Args:
        stage: of a run that was computed again.
        kept: the study's store.
        made: where it was computed again.
    """
    if not stage.result_keys:
        return None
    if isinstance(stage, FeatureStage):
        return _compare_features(stage, kept, made)
    what, again = described(stage), read_result(made.path(stage.kind, stage.key), verify=False)
    try:
        before = read_untouched(kept, stage.kind, stage.key)
    except DamagedError:
        return Compared(what, "damaged", "the store's file is not what was written")
    if before is None:
        return Compared(what, "absent", "no longer in the store")
    if lacks := _lacks(stage, before, again):
        return Compared(what, "absent", lacks)
    return Compared.of(what, difference(one := values(before), other := values(again), _names(stage, one, other)))


def compare_audit(run: Run, kept: Store) -> Compared:
    """What the kept results of a run's stages say that they have read: no test image before scoring."""

    def result(stage: Stage) -> Result | None:
        try:
            return read_untouched(kept, stage.kind, stage.key)
        except DamagedError:
            return None

    what, found = "audit: images read", audit(run, result)
    if found.early:
        return Compared(what, "differs", found.conclusion)
    is_said = all(stage.is_noted for stage in found.stages)
    return Compared(what, "equal") if is_said else Compared(what, "absent", found.conclusion)


def _lacks(stage: Stage, kept: Result, made: Result) -> str:
    """Why two results of a stage do not compare; empty where they do."""
    if kept.facts.get("extent") != made.facts.get("extent"):
        return "kept for a study that reached less or more far"
    return "" if is_whole(stage, kept) else "kept before all was measured that is asked for now"


def _names(stage: Stage, kept: Mapping[str, object], made: Mapping[str, object]) -> Iterable[str]:
    """The values to compare. A metric that was measured beside what is asked for now is no part of the stage."""
    if isinstance(stage, EvaluationStage):
        return [name for name in kept if name in made and name != "facts.measured"]
    noted = f"facts.{IMAGES_READ}"  # which earlier versions did not
    return [name for name in dict.fromkeys([*kept, *made]) if name != noted or (name in kept and name in made)]


def _compare_features(stage: FeatureStage, kept: Store, made: Store) -> Compared:
    """Image by image; the names of those that differ, with the layer."""
    what, n_compared = described(stage), 0
    differing: list[str] = []
    damaged: list[str] = []
    gaps: list[float] = []
    for sample, key in zip(stage.part.samples, stage.image_keys, strict=True):
        try:
            before = read_untouched(kept, stage.kind, key)
            again = read_untouched(made, stage.kind, key)
        except DamagedError:
            damaged.append(sample.identity)
            continue
        if before is None or again is None:
            continue
        n_compared += 1
        layers = [layer for layer in stage.layers if layer in before.arrays]
        found = difference(before.arrays, again.arrays, layers)
        if found is not None:
            differing.append(f"{sample.identity} ({', '.join(found.names)})")
            gaps += [] if found.largest is None else [found.largest]
    if damaged:
        return Compared(what, "damaged", f"the store's file of {listed(tuple(damaged))} is not what was written")
    if differing:
        return Compared(what, "differs", listed(tuple(differing)), max(gaps, default=None))
    if n_compared < len(stage.image_keys):
        n_absent = len(stage.image_keys) - n_compared
        return Compared(what, "absent", f"{n_absent} of {len(stage.image_keys)} images' features are not kept")
    return Compared(what, "equal")


def read_untouched(store: Store, kind: str, key: str) -> Result | None:
    """A result held to its checksums, without noting that it was used; None where there is none.

    Raises:
        DamagedError: it is not what was written; it stays where it is.
    """
    try:
        return read_result(store.path(kind, key), verify=True)
    except FileNotFoundError:
        return None


def values(result: Result) -> dict[str, object]:
    """Arrays and facts by name, times left out."""
    facts = {f"facts.{name}": value for name, value in result.facts.items()}
    return {name: value for name, value in {**result.arrays, **facts}.items() if not is_time(name)}


def described(stage: Stage) -> str:
    """What a stage computes and of which images: "patchcore.coreset of train", "truth of test (shift)"."""
    part = stage.parts[0]
    name = next((name for kind, name in _PARTS if isinstance(part, kind)), part.category)
    return f"{stage.kind} of {name}" if part.domain == "clean" else f"{stage.kind} of {name} ({part.domain})"
