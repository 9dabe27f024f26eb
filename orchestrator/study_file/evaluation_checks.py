"""What can be wrong with the evaluation of a study, each mistake at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.errors import nearest
from adloc.metrics.registry import CHOICES
from adloc.study_file.evaluating import NATIVE
from adloc.study_file.variants import MethodProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.study_file.spec import StudySpec


def check_evaluation(spec: StudySpec) -> Iterator[MethodProblem]:
    """Metrics that there are not, or that a search needs; images of different sizes all at once."""
    asked = spec.evaluation
    if asked.size == NATIVE and asked.mode == "exact":
        yield MethodProblem(
            ("evaluation", "mode"),
            state="is exact, and evaluation.size is native",
            rule="images of different sizes are compared one by one, in bounded memory",
            remedy="use evaluation.mode: streaming, or leave the key out",
        )
    for index, name in enumerate(asked.metrics or ()):
        if name not in CHOICES:
            yield MethodProblem(
                ("evaluation", "metrics", index),
                state=f"is {name}",
                rule="it must be a metric of images or pixels, without val_ in front",
                remedy=nearest(name, CHOICES),
            )
    if asked.metrics is None or not any(entry.tune for entry in spec.methods):
        return
    for objective in spec.tuning.objectives:
        name = objective.removeprefix("val_")
        if name not in asked.metrics:
            yield MethodProblem(
                ("evaluation", "metrics"),
                state=f"lacks {name}, which tuning seeks to improve",
                rule="a search compares settings by a metric that is measured",
                remedy=f"add {name} to evaluation.metrics",
            )
