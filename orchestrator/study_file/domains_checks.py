"""What can be wrong with the real shifts of a study, as far as the file alone tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adloc.study_file.domains import DomainShift
from adloc.study_file.regimes import REGIMES
from adloc.study_file.variants import MethodProblem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adloc.study_file.spec import StudySpec


def check_domains(spec: StudySpec) -> Iterator[MethodProblem]:
    """Targets that no regime reads, or that the dataset cannot have."""
    shift = spec.shift
    if not isinstance(shift, DomainShift):
        return
    named = ", ".join(shift.targets)
    if all(REGIMES[regime].evaluation == "clean" for regime in spec.regimes):
        yield MethodProblem(
            ("shift", "targets"),
            state=f"is {named}, and no regime tests on it",
            rule="a target is tested on by the regimes other than clean",
            remedy="add no_adaptation to regimes, or delete shift",
        )
    if shift.roots and not hasattr(spec.dataset, "root"):
        yield MethodProblem(
            ("shift", "targets"),
            state=f"gives roots, and a dataset of kind {spec.dataset.kind} has none",
            rule="a target with a root of its own is read as the dataset is, from that root",
            remedy="name domains of the dataset's images, as in targets: [illumination]",
        )
    if shift.roots and shift.source is not None:
        yield MethodProblem(
            ("shift", "source"),
            state=f"is {shift.source}, and every target has a root of its own",
            rule="source tells the domains of one root apart",
            remedy="delete source: all images of dataset.root are the source",
        )
