"""Named values beside those that were made again: whether every bit is the same, and how far they are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_CHUNK = 1 << 20  # elements that are compared at a time: arrays may be as large as memory


@dataclass(frozen=True, slots=True)
class Difference:
    """What of some named values is not the same.

    Attributes:
        names: of those that differ, at least one.
        largest: the largest absolute difference of two numbers; infinite where one of them is not finite, None where
            there are none to compare: a value is absent, or another shape or a text.
    """

    names: tuple[str, ...]
    largest: float | None


def difference(kept: Mapping[str, object], made: Mapping[str, object], names: Iterable[str]) -> Difference | None:
    """What of these names differs in any bit, dtype or shape; None where nothing does.

    Example:
        >>> difference({"a": 1.0, "b": "x"}, {"a": 1.5, "b": "x"}, ["a", "b"])
        Difference(names=('a',), largest=0.5)
    """
    found: list[str] = []
    gaps: list[float] = []
    for name in names:
        if name in kept and name in made:
            if _same(kept[name], made[name]):
                continue
            gap = _gap(kept[name], made[name])
            gaps += [] if gap is None else [gap]
        found.append(name)
    return Difference(tuple(found), max(gaps, default=None)) if found else None


def is_time(name: str) -> bool:
    """Whether a value is seconds, which are others every time; their names end in `_s` everywhere."""
    return name.endswith("_s")


def _same(one: object, other: object) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return repr(one) == repr(other)  # of floats every bit, and nan is itself
    return one.dtype == other.dtype and one.shape == other.shape and bool(np.array_equal(_bytes(one), _bytes(other)))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _gap(one: object, other: object) -> float | None:
    """The largest absolute difference of two numbers, or of two arrays of one shape."""
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape or not all(np.issubdtype(a.dtype, np.number) for a in (first, second)):
        return None
    flat, largest = (first.reshape(-1), second.reshape(-1)), 0.0
    for start in range(0, first.size, _CHUNK):
        a, b = (array[start : start + _CHUNK].astype(np.float64) for array in flat)
        both_nan = np.isnan(a) & np.isnan(b)
        with np.errstate(invalid="ignore"):
            gaps = np.where(both_nan | (a == b), 0.0, np.abs(a - b))
        largest = max(largest, float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max()))
    return largest
