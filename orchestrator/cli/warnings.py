"""What `adloc study` warns of, on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from adloc.planning.plan import Plan
    from adloc.study import Study
    from adloc.tracking.place import Place


def warn_of_small_parts(plan: Plan) -> None:
    """Say which parts are too small for what is asked of them."""
    from adloc.answer.promises import small_part_warnings

    for line in small_part_warnings(plan):
        click.echo(f"WARNING: {line}", err=True)


def warn_of_random_weights(prepared: Study) -> None:
    """Say that a network has learned nothing."""
    for (backbone, weights), place in prepared.weights.items():
        if weights == "random":
            click.echo(f"WARNING: {backbone} has {place} weights: its figures mean nothing", err=True)


def warn_of_engine(prepared: Study, device: str) -> None:
    """Say that a GPU stands idle."""
    from adloc.computing.environment import pick_device

    engine = prepared.spec.features.engine
    if engine != "torch" and pick_device(device).type == "cuda":
        click.echo(
            f"WARNING: features.engine is {engine}: features are computed on the CPU, only the rest on the GPU",
            err=True,
        )


def warn_of_what_failed(prepared: Study, place: Place) -> None:
    """Say what was left out of a study that is done otherwise."""
    from adloc.explain import boundary as explaining
    from adloc.model import logged
    from adloc.report import boundary as reporting
    from adloc.tracking import tracker

    behind = tracker.complaint(place, prepared.spec.study, prepared.file.path)
    for why in (explaining.complaint(prepared), reporting.complaint(prepared), logged.complaint(prepared), behind):
        if why:
            click.echo(f"WARNING: {why}", err=True)
