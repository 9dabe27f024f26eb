"""What two studies differ in, for people on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.answer.differences import Differences, RunPair

MOST_IMAGES = 10
BRIEF = ("threshold", "image_auroc", "image_f1", "pixel_auroc", "pixel_aupro")


def describe_differences(found: Differences, names: tuple[str, str], rest: str = "--json lists all") -> str:
    """Spec first, then each pair of runs; what is the same is not mentioned. `rest` says where more is than is told."""
    return "\n".join(_lines(found, names, rest))


def _lines(found: Differences, names: tuple[str, str], rest: str) -> Iterator[str]:
    yield f"A: {names[0]}\nB: {names[1]}"
    yield "\nSpec" if found.spec else "\nSpec: the same"
    for key, (one, other) in found.spec.items():
        yield f"  {key}: {one} -> {other}"
    shared = _shared_environment(found)
    if shared:
        yield "\nEnvironment, in every pair of runs"
    for key, (one, other) in shared.items():
        yield f"  {key}: {one} -> {other}"
    for pair in found.pairs:
        yield from _of_pair(pair, set(shared), rest)
    for side, runs in (("A", found.only_first), ("B", found.only_second)):
        if runs:
            yield f"\nOnly in {side}: {len(runs)} runs"
            yield from (f"  {run_id}" for run_id in runs[:MOST_IMAGES])
        if len(runs) > MOST_IMAGES:
            yield f"  and {len(runs) - MOST_IMAGES} more; {rest}"


def _of_pair(pair: RunPair, known: set[str], rest: str) -> Iterator[str]:
    same = not (pair.params or pair.data or pair.metrics or pair.flipped)
    yield f"\n{pair.what}" + (": the same" if same else "")
    for name, (one, other) in pair.params.items():
        yield f"  {name}: {one} -> {other}"
    for part, words in pair.data.items():
        yield f"  {part} images: {words}"
    for name, (before, after) in pair.environment.items():
        if name not in known:
            yield f"  {name}: {before} -> {after}"
    yield from (f"  {name}: {_moved(*pair.metrics[name])}" for name in BRIEF if name in pair.metrics)
    yield from _of_images(pair, rest)


def _moved(first: float | None, second: float | None) -> str:
    change = "" if first is None or second is None else f"  ({second - first:+.4f})"
    return f"{_figure(first)} -> {_figure(second)}{change}"


def _figure(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4f}"


def _of_images(pair: RunPair, rest: str) -> Iterator[str]:
    if pair.noise and "image_auroc" in pair.metrics:
        yield f"  {pair.noise}"
    if pair.flipped:
        yield f"  {len(pair.flipped)} images judged another way"
    for image, before, after in pair.flipped[:MOST_IMAGES]:
        yield f"    {image}: {before} -> {after}"
    if len(pair.flipped) > MOST_IMAGES:
        yield f"    and {len(pair.flipped) - MOST_IMAGES} more; {rest}"


def _shared_environment(found: Differences) -> dict[str, tuple[str, str]]:
    """Differences of the environment that every pair has."""
    if not found.pairs:
        return {}
    first, *others = (set(pair.environment.items()) for pair in found.pairs)
    return dict(sorted(first.intersection(*others)))
