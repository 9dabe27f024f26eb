"""Inputs that are almost right: bytes with seeded damage; and of them those that reach code which none before has."""

from __future__ import annotations

import io
import re
import sys
import time
from dataclasses import dataclass
from random import Random as Seeded
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

LONGEST_S = 20.0  # for one input, on a machine that others use too
_WORD = re.compile(rb"[\w.+-]+")
LATEST = 8  # inputs that reached new code last, each as likely as all of those before together


def seeded(seed: int) -> Seeded:
    """The same choices every time."""
    return Seeded(seed)  # noqa: S311  # nothing is kept secret


def mutated(content: bytes, random: Seeded) -> bytes:
    """The bytes with a few of them flipped, set, cut off, left out, doubled or put in."""
    data = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8))):
        at = random.randrange(len(data) + 1)
        n = random.choice((1, 2, 4, 64, 1024))
        how = random.randrange(6)
        if how == 0 and at < len(data):
            data[at] ^= 1 << random.randrange(8)
        elif how == 1:
            data[at : at + n] = random.choice((b"\0", b"\xff", b"[", b"9", b'"')) * len(data[at : at + n])
        elif how == 2:
            del data[at:]
        elif how == 3:
            del data[at : at + n]
        elif how == 4:
            data[at:at] = data[at : at + n]
        else:
            data[at:at] = random.randbytes(n)
    return bytes(data)


def encoded(mode: str, form: str, **how: Any) -> bytes:
    """An image of noise."""
    pixels = np.random.default_rng(5).integers(0, 256, (24, 20, 4), np.uint8)
    image = Image.fromarray(pixels, "RGBA")
    image = Image.fromarray(pixels[:, :, 0].astype(np.float32)) if mode == "F" else image
    image = Image.fromarray(pixels[:, :, 0].astype(np.uint16)) if mode == "I;16" else image
    out = io.BytesIO()
    (image if mode in ("F", "I;16") else image.convert("RGB").convert(mode)).save(out, form, **how)
    return out.getvalue()


def timed(use: Callable[[], object], errors: type[Exception] | tuple[type[Exception], ...], what: object) -> bool:
    """Whether an input was accepted; another exception than these is the test's, with the input.

    Raises:
        AssertionError: another exception, or it took too long.
    """
    began = time.monotonic()
    try:
        use()
    except errors:
        accepted = False
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}, of {what!r}"[:3000]) from error
    else:
        accepted = True
    assert time.monotonic() - began < LONGEST_S, what
    return accepted


@dataclass(frozen=True, slots=True)
class Explored:
    """What guided inputs have reached.

    Attributes:
        n_seeds: steps from one line to the next that the seeds took.
        n_steps: that all inputs took.
        kept: the inputs that took a new one.
    """

    n_seeds: int
    n_steps: int
    kept: list[bytes]


def explore(
    seeds: Sequence[bytes],
    n: int,
    use: Callable[[bytes], object],
    modules: tuple[str, ...],
    random: Seeded,
    words: Sequence[bytes] = (),
) -> Explored:
    """Use `n` inputs made of these, and of those among them that reached what none before had.

    Args:
        seeds: inputs that are right.
        n: how many inputs.
        use: reads one; what it raises ends all.
        modules: beginnings of the names of those whose lines count.
        random: makes the choices.
        words: that the format knows, beside those in the seeds.
    """
    kept, reached = list(seeds), set[object]()
    known = [*words, *(word for seed in seeds for word in _WORD.findall(seed))]
    for seed in seeds:
        reached |= steps_of(lambda seed=seed: use(seed), modules)  # type: ignore[misc]
    n_seeds = len(reached)
    for _ in range(n):
        chosen = random.choice(random.choice((kept, kept[-LATEST:])))
        content = mutated(chosen, random) if random.randrange(2) else reworded(chosen, known, random)
        new = steps_of(lambda content=content: use(content), modules) - reached  # type: ignore[misc]
        if new:
            reached |= new
            kept.append(content)
    return Explored(n_seeds, len(reached), kept)


def reworded(content: bytes, known: Sequence[bytes], random: Seeded) -> bytes:
    """The bytes with one to three of their words, which may be values, names or numbers, replaced."""
    for _ in range(random.randrange(1, 4)):
        places = [match.span() for match in _WORD.finditer(content)] or [(0, 0)]
        start, end = random.choice(places)
        content = content[:start] + random.choice(known or [b"0"]) + content[end:]
    return content


def steps_of(use: Callable[[], object], modules: tuple[str, ...]) -> set[object]:
    """Every step from one line to the next that was taken in these modules."""
    steps: set[object] = set()

    def enter(frame: FrameType, _event: str, _: Any) -> Any:
        if not str(frame.f_globals.get("__name__")).startswith(modules):
            return None
        code, last = frame.f_code, 0

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                steps.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        use()
    finally:
        sys.settrace(before)
    return steps
