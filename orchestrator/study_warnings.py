"""What a study is warned of, in sentences: before it is run, and of what was left out when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.answer.promises import small_part_warnings
from adloc.record.reasons import told
from adloc.study import incomplete

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.study import Study
    from adloc.tracking.place import Place


def before_it_runs(study: Study, device: str) -> Iterator[str]:
    """What makes the figures to come mean less, or take longer, than they could; and why finished runs run again."""
    if lack := told(incomplete(study)):
        yield lack
    yield from _random_weights(study)
    yield from small_part_warnings(study.plan)
    yield from idle_gpu(study, device)


def idle_gpu(study: Study, device: str) -> Iterator[str]:
    """That a GPU stands idle while features are computed."""
    from adloc.computing.environment import pick_device

    engine = study.spec.features.engine
    if engine != "torch" and pick_device(device).type == "cuda":
        yield f"features.engine is {engine}: features are computed on the CPU, only the rest on the GPU"


def what_failed(study: Study, place: Place) -> Iterator[str]:
    """What was left out of a study that is done otherwise."""
    from adloc.explain import boundary as explaining
    from adloc.model import logged
    from adloc.report import boundary as reporting
    from adloc.tracking import tracker

    behind = tracker.complaint(place, study.spec.study, study.file.path)
    for why in (explaining.complaint(study), reporting.complaint(study), logged.complaint(study), behind):
        if why:
            yield why


def _random_weights(study: Study) -> Iterator[str]:
    """That a network has learned nothing."""
    for (backbone, weights), place in study.weights.items():
        if weights == "random":
            yield f"{backbone} has {place} weights: its figures mean nothing"
