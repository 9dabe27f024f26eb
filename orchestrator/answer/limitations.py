"""What a study's set-up does not allow to be said, in sentences for a paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.answer.floor import find_floored
from adloc.answer.varied import as_words, varied
from adloc.answer.warned import find_warnings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adloc.answer.material import Material
    from adloc.planning.parts import Part, Parts
    from adloc.study_file.axes import StudyShift

TRANSFORMS = (
    "rotation_deg", "scale", "translation", "crop", "brightness", "contrast", "saturation", "blur", "noise",
    "illumination",
)  # fmt: skip
FIXED = ("backbone", "weights", "layers", "patch_size", "coreset_ratio", "neighbours", "metric", "reweight",
         "n_features", "image_score", "smoothing_sigma")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limitation:
    """One of them.

    Attributes:
        matter: what it is about, in a word or two.
        text: a sentence or a few.
    """

    matter: str
    text: str


def find_limitations(material: Material) -> Iterator[Limitation]:
    """In the order of a study: images, split, repeats, thresholds, shift, methods, costs."""
    spec = material.plan.spec
    parts = material.plan.parts.values()
    yield Limitation(
        "images",
        f"{len(material.plan.parts)} {'category' if len(material.plan.parts) == 1 else 'categories'} "
        f"({', '.join(material.plan.parts)}). Images a category: {_counts('train', (p.train for p in parts))}; "
        f"{_counts('validation', (p.validation for p in parts))}; {_counts('test', (p.test for p in parts))}.",
    )
    if spec.split.train_fraction == 1:
        yield Limitation("split", "The benchmark's standard split, without a validation part: no threshold.")
    else:
        yield Limitation(
            "split",
            f"One rule of splitting: {spec.split.train_fraction:.0%} of the normal training images fit, the rest and "
            f"{spec.split.validation_defects:.0%} of each defect type validate. No figure is of another split, the "
            "benchmark's standard one included, so none compares with published figures.",
        )
    yield Limitation("repeats", _repeats(material))
    yield Limitation("thresholds", _thresholds(material))
    yield Limitation("shift", _shift(material))
    yield Limitation("not varied", _fixed(material))
    warned = [claim.text for claim in (*find_floored(material), *find_warnings(material))]
    if warned:
        yield Limitation("scores", " ".join(warned))
    yield Limitation(
        "costs", "Times and memory are of one machine, in one process whose peak memory counts earlier runs too."
    )


def _counts(name: str, parts: Iterable[Part]) -> str:
    """Test 20 to 24 normal and 31 anomalous."""
    found = [(sum(not s.label for s in p.samples), sum(s.label for s in p.samples)) for p in parts]
    normal, anomalous = zip(*found, strict=True) if found else ((0,), (0,))
    return f"{name} {_between(normal)} normal and {_between(anomalous)} anomalous"


def _between(values: Iterable[int]) -> str:
    low, high = min(known := list(values)), max(known)
    return f"{low}" if low == high else f"{low} to {high}"


def _repeats(material: Material) -> str:
    spec = material.plan.spec
    if spec.repeats == 1:
        return (
            f"One repeat (split seed {spec.split.seed}, method seed {spec.seed}): intervals are over the test images "
            "and say nothing of other splits or seeds."
        )
    return (
        f"{spec.repeats} repeats, each with its own split and seeds; intervals are over them and treat them as drawn "
        "at random."
    )


def _thresholds(material: Material) -> str:
    config, parts = material.plan.spec.thresholds, material.plan.parts.values()
    if not any(len(p.validation) for p in parts):
        return "None was calibrated: metrics at a threshold are left out."
    normal = _between(sum(not s.label for s in p.validation.samples) for p in parts)
    return (
        f"Objective {config.words} on {normal} normal validation images a category, which also chose the settings: no "
        f"false-alarm rate below one in that many can be told from 0. Other objectives were not tried."
    )


def _shift(material: Material) -> str:
    if not any(regime != "clean" for regime in material.plan.spec.regimes):
        return "None was tested."
    told = [_real(name, parts) for name, parts in material.plan.targets.items()]
    transforms = material.plan.spec.shift.transforms
    if transforms is not None:
        told.append(_simulated(transforms))
    told += [f"Not run: {each}." for each in material.plan.absent]
    return " ".join(told)


def _real(name: str, parts: Mapping[str, Parts]) -> str:
    counts = [_counts(kind, [getattr(p, kind) for p in parts.values()]) for kind in ("train", "validation", "test")]
    return (
        f"Real images of {name}, a category: {'; '.join(counts)}. What else differs from the source's images than what "
        "the domain is named for, no figure tells."
    )


def _simulated(shift: StudyShift) -> str:
    on = [name for name in TRANSFORMS if getattr(shift, name) is not None]
    off = [name for name in TRANSFORMS if name not in on]
    return (
        f"Synthetic ({shift.preset}, seed {shift.seed}), at {_severities(shift.severities)}, applied to every image "
        f"once. On: {', '.join(on) or 'none'}; off: {', '.join(off) or 'none'}; fill {shift.fill}. The transforms act "
        "together: no figure says which of them hurts, and none is of a change measured on a production line."
    )


def _fixed(material: Material) -> str:
    image = material.plan.spec.image
    found = [f"image size {as_words(image.size)}{f', of each of {image.tiles} tiles' if image.tiles else ''}"]
    for method in dict.fromkeys(s.method for s in material.settings):
        moved = {v.name for v in varied(material, method)}
        params = next(s.params for s in material.settings if s.method == method)
        held = [f"{n} {as_words(params[n])}" for n in FIXED if n in params and n not in moved]
        found.append(f"{method}: {', '.join(held)}")
    return "; ".join(found) + "."


def _severities(values: tuple[float, ...]) -> str:
    listed = ", ".join(f"{value:g}" for value in values)
    return f"severity {listed} alone" if len(values) == 1 else f"severities {listed}"
