"""What can be wrong with the axes of a study, each mistake at its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.study_file.axes import ALL
from adloc.study_file.regimes import REGIMES
from adloc.study_file.variants import MethodProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.study_file.spec import StudySpec


def check_axes(spec: StudySpec) -> Iterator[MethodProblem]:
    """Axes that exclude each other, or that no run of the study would stand on."""
    if spec.learning_curve and spec.train.images != ALL:
        yield MethodProblem(
            ("train", "images"),
            state=f"is {_shown(spec.train.images)}, and there is a learning_curve",
            rule="both say how many images a model is fitted on",
            remedy="use train.images: all, or delete learning_curve",
        )
    shift = spec.shift.transforms
    if shift is None:
        return
    at = ("shift",) if shift is spec.shift else ("shift", "synthetic")
    if shift.drop_vanished and shift.at == "model":
        yield MethodProblem(
            (*at, "drop_vanished"),
            state="is true, and shift.at is model",
            rule="which images are tested must not depend on the size that a model sees them at",
            remedy="use shift.at: native, or shift.drop_vanished: false",
        )
    if all(REGIMES[regime].evaluation == "clean" for regime in spec.regimes):
        for key, value in (("severity", shift.severity), ("factors", shift.factors)):
            if isinstance(value, tuple | str):
                yield MethodProblem(
                    (*at, key),
                    state=f"is {_shown(value)}, and no regime tests on shifted images",
                    rule="an axis of the shift needs a regime that has one",
                    remedy=f"add no_adaptation to regimes, or delete shift.{key}",
                )


def _shown(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
