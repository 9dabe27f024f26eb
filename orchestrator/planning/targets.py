"""The images of a study's real domains: which are the source's, and which each target's."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from adloc.datasets import load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.fetched import local_root
from adloc.datasets.fingerprint import fingerprints
from adloc.errors import Complaint, NotThereError, UserError, nearest
from adloc.study_file.domains import DomainShift

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from adloc.datasets import KindConfig
    from adloc.datasets.fingerprint import FingerprintCache
    from adloc.datasets.sample import Fingerprint, Sample
    from adloc.study_file.reader import Loc, StudyFile
    from adloc.study_file.spec import StudySpec


@dataclass(frozen=True)
class Target:
    """The images of a real domain that a study shifts to.

    Attributes:
        samples: of the categories that the source has too.
        fingerprints: of each sample, by its identity, which may be the name of another image of the source.
    """

    samples: Sequence[Sample]
    fingerprints: Mapping[str, Fingerprint]


def source_samples(file: StudyFile, spec: StudySpec, samples: Sequence[Sample]) -> list[Sample]:
    """The samples that are read as clean: of a dataset with domains, those of the source.

    Raises:
        UserError: no image is of the source, or of a target.
    """
    if not isinstance(spec.shift, DomainShift) or spec.shift.roots:
        return list(samples)
    there = Counter(sample.domain for sample in samples)
    named = [name for name in there if name is not None]
    asked: list[tuple[Loc, str]] = [(("shift", "targets", i), name) for i, name in enumerate(spec.shift.targets)]
    asked += [(("shift", "source"), spec.shift.source)] if spec.shift.source is not None else []
    wrong = [file.complaint(loc, *_unknown(name, named)) for loc, name in asked if name not in there]
    if wrong:
        raise UserError(*wrong)
    source = spec.shift.source
    found = [s for s in samples if (s.domain not in spec.shift.targets if source is None else s.domain == source)]
    if not found:
        raise UserError(
            file.complaint(
                ("shift", "targets"),
                f"is {', '.join(spec.shift.targets)}, and every image is of one of them",
                "models are fitted on images of another domain, the source",
                "leave the domain that stands for your own images out of targets",
            )
        )
    return found


def load_targets(
    file: StudyFile, spec: StudySpec, samples: Sequence[Sample], source: Sequence[Sample], cache: FingerprintCache
) -> dict[str, Target]:
    """The images of each target, by content; nothing in a study without real domains.

    Args:
        file: says where a target is named.
        spec: the study.
        samples: of the dataset.
        source: those of them that are read as clean.
        cache: of content hashes.

    Raises:
        UserError: a root cannot be read, or has no image of the source's categories.
    """
    if not isinstance(spec.shift, DomainShift):
        return {}
    categories = tuple(dict.fromkeys(sample.category for sample in source))
    roots = target_datasets(spec)
    found: dict[str, Target] = {}
    for index, name in enumerate(spec.shift.targets):
        with _named(file, name if roots else index):
            listed = _load(roots[name], categories) if roots else [s for s in samples if s.domain == name]
            chosen = [sample for sample in listed if sample.category in categories]
            if not chosen:
                raise UserError(
                    file.complaint(
                        ("shift", "targets", name if roots else index),
                        f"has no image of {', '.join(categories)}",
                        "a target has categories of the source, by the same names",
                        "rename its categories, or delete the target",
                    )
                )
            found[name] = Target(chosen, fingerprints(chosen, cache))
    return found


def target_datasets(spec: StudySpec) -> dict[str, KindConfig]:
    """The dataset of each target that has a root of its own: the study's, read from there.

    Categories that are not there are left out: a target need not have all.
    """
    if not isinstance(spec.shift, DomainShift):
        return {}
    return {name: _at(spec.dataset, root) for name, root in spec.shift.roots.items()}


def _at(dataset: KindConfig, root: Path) -> KindConfig:
    asked = getattr(dataset, "categories", None)
    there = tuple(c for c in asked if (local_root(root) / c).is_dir()) if isinstance(asked, tuple) else ()
    return dataset.model_copy(update={"root": root} | ({"categories": there} if there else {}))


def _load(dataset: KindConfig, categories: Sequence[str]) -> list[Sample]:
    """The samples of a target's own root; a root that is one category itself has the name of the source's."""
    samples = load_samples(dataset)
    if getattr(dataset, "categories", "") is None:
        return [replace(sample, category=categories[0]) for sample in samples]
    return samples


def _unknown(name: str, there: Sequence[str]) -> tuple[str, str, str]:
    if not there:
        return f"is {name}, and no image has a domain", "domains come from the dataset", "name them by dataset.domain"
    return f"is {name}, and no image is of that domain", f"the domains are {', '.join(there)}", nearest(name, there)


@contextmanager
def _named(file: StudyFile, key: str | int) -> Iterator[None]:
    """Say with every problem of a target's images where the study names it."""
    try:
        yield
    except DatasetError as error:
        where = file.where(("shift", "targets", key))
        raise NotThereError(*(Complaint(f"{where}: {p.found}", p.rule, p.remedy) for p in error.problems)) from None
