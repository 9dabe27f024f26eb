"""One side of paired comparisons: a setting's runs in a regime, with what each comparison of it needs found once.

A lead is compared with every other setting of its method: what is its own is not worked out again for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from adloc.answer.results import MACRO
from adloc.uncertainty.jackknife import influences

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from adloc.answer.finding import Finding, Setting
    from adloc.answer.material import Material


@dataclass(frozen=True, eq=False)
class Side:
    """A setting's figure of one metric: of a category, or the mean of several.

    Attributes:
        findings: of each category.
        metric: result column.
    """

    findings: tuple[Finding, ...]
    metric: str

    @property
    def names(self) -> list[tuple[str, ...]]:
        """The test images of each category."""
        return [f.test.names for f in self.findings]

    @property
    def labels(self) -> list[NDArray[np.bool_]]:
        """What they are, True = anomalous."""
        return [f.test.labels for f in self.findings]

    @cached_property
    def figure(self) -> float:
        """The mean over the categories."""
        values = [f.record.metrics[self.metric] for f in self.findings]
        return float(np.mean([v for v in values if v is not None]))

    @cached_property
    def signature(self) -> str:
        """Equal for figures that are the same by construction."""
        return "".join(f.signature(self.metric) for f in self.findings)

    @cached_property
    def drawn(self) -> NDArray[np.float64] | None:
        """The figure in every resample; None where a category has none."""
        arrays = [f.replicates[self.metric] for f in self.findings if self.metric in f.replicates]
        if len(arrays) < len(self.findings):
            return None
        n = min(map(len, arrays))
        return np.asarray(np.mean([values[:n] for values in arrays], axis=0, dtype=np.float64))

    @cached_property
    def influences(self) -> list[NDArray[np.float64]] | None:
        """How much each test image moves its category's figure; None where a category has no such figures."""
        found: list[NDArray[np.float64]] = []
        for finding, labels in zip(self.findings, self.labels, strict=True):
            figures = finding.left_out(self.metric)
            if figures is None:
                return None
            found.append(influences(figures, labels))
        return found

    @cached_property
    def n_rarer(self) -> int:
        """Images of the rarer class in all categories together."""
        return min(sum(int((part == kind).sum()) for part in self.labels) for kind in (True, False))

    @cached_property
    def fewest(self) -> int:
        """Images of the class of the category that has the fewest."""
        return min(int((part == kind).sum()) for part in self.labels for kind in (True, False))


class Sides:
    """The sides of a study's comparisons, each made once."""

    def __init__(self, material: Material) -> None:
        """Nothing is worked out before it is asked for."""
        self._material = material
        self._made: dict[tuple[str, str, str, str, int], Side | None] = {}

    def get(self, setting: Setting, regime: str, category: str, metric: str, repeat: int) -> Side | None:
        """A repeat's side, of a category or of all; None where a run is missing or has no such metric."""
        of = (setting.key, regime, category, metric, repeat)
        if of not in self._made:
            categories = self._material.plan.parts if category == MACRO else (category,)
            found = [self._material.get(setting, regime, each, repeat) for each in categories]
            there = tuple(f for f in found if f is not None and f.record.metrics.get(metric) is not None)
            self._made[of] = Side(there, metric) if len(there) == len(found) else None
        return self._made[of]
