"""What two studies differ in, for people on the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from adloc.differences import Differences, RunPair

MOST_IMAGES = 10
BRIEF = ("threshold", "image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")


def print_differences(found: Differences, names: tuple[str, str]) -> None:
    """Spec first, then each pair of runs; what is the same is not mentioned."""
    click.echo(f"A: {names[0]}\nB: {names[1]}")
    click.echo("\nSpec" if found.spec else "\nSpec: the same")
    for key, (one, other) in found.spec.items():
        click.echo(f"  {key}: {one} -> {other}")
    shared = _shared_environment(found)
    if shared:
        click.echo("\nEnvironment, in every pair of runs")
        for key, (one, other) in shared.items():
            click.echo(f"  {key}: {one} -> {other}")
    for pair in found.pairs:
        _print_pair(pair, set(shared))
    for side, runs in (("A", found.only_first), ("B", found.only_second)):
        if runs:
            click.echo(f"\nOnly in {side}: {len(runs)} runs")
            for run_id in runs[:MOST_IMAGES]:
                click.echo(f"  {run_id}")
            if len(runs) > MOST_IMAGES:
                click.echo(f"  and {len(runs) - MOST_IMAGES} more; --json lists all")


def _print_pair(pair: RunPair, known: set[str]) -> None:
    same = not (pair.params or pair.data or pair.metrics or pair.flipped)
    click.echo(f"\n{pair.what}" + (": the same" if same else ""))
    for name, (one, other) in pair.params.items():
        click.echo(f"  {name}: {one} -> {other}")
    for part, words in pair.data.items():
        click.echo(f"  {part} images: {words}")
    for name, (before, after) in pair.environment.items():
        if name not in known:
            click.echo(f"  {name}: {before} -> {after}")
    for name in BRIEF:
        if name in pair.metrics:
            low, high = pair.metrics[name]
            change = "" if math.isnan(low) or math.isnan(high) else f"  ({high - low:+.4f})"
            click.echo(f"  {name}: {low:.4f} -> {high:.4f}{change}")
    _print_images(pair)


def _print_images(pair: RunPair) -> None:
    if pair.noise and "image_auroc" in pair.metrics:
        click.echo(f"  {pair.noise}")
    if pair.flipped:
        click.echo(f"  {len(pair.flipped)} images judged another way")
    for image, before_verdict, after_verdict in pair.flipped[:MOST_IMAGES]:
        click.echo(f"    {image}: {before_verdict} -> {after_verdict}")
    if len(pair.flipped) > MOST_IMAGES:
        click.echo(f"    and {len(pair.flipped) - MOST_IMAGES} more; --json lists all")


def _shared_environment(found: Differences) -> dict[str, tuple[str, str]]:
    """Differences of the environment that every pair has."""
    if not found.pairs:
        return {}
    first, *others = (set(pair.environment.items()) for pair in found.pairs)
    return dict(sorted(first.intersection(*others)))
