"""The clean split: disjoint, complete, and drawn from the seed and the image's own name alone."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import fingerprints
from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.sample import Fingerprint, Sample
from adloc.datasets.split import (
    Split,
    SplitConfig,
    check_disjoint,
    counts,
    split,
)
from adloc.planning.parts import make_parts
from samples import Nowhere, made_up

if TYPE_CHECKING:
    from pathlib import Path


def contents(samples: list[Sample]) -> dict[str, Fingerprint]:
    """Give every sample a content of its own."""
    return {
        sample.identity: Fingerprint(f"{i:064x}", f"{i:x}" if sample.label else "", 64, 64)
        for i, sample in enumerate(samples)
    }


fractions = st.decimals(0, 1, places=2).map(float)
configs = st.builds(
    SplitConfig,
    train_fraction=fractions.filter(lambda f: f > 0),
    validation_defects=fractions.filter(lambda f: f < 1),
    seed=st.integers(0, 2**63 - 1),
)
sizes = st.integers(0, 30)


@given(config=configs, n_train=st.integers(1, 60), n_good=sizes, n_crack=sizes, n_stain=sizes)
def test_parts_are_disjoint_and_complete(
    config: SplitConfig, n_train: int, n_good: int, n_crack: int, n_stain: int
) -> None:
    """Every image is in exactly one part, whatever the counts, fractions and seed."""
    assume(Fraction(repr(config.train_fraction)) * n_train >= Fraction(1, 2))
    samples = made_up(n_train=n_train, n_good=n_good, crack=n_crack, stain=n_stain)
    parts = split(samples, config)
    together = [*parts.train, *parts.validation, *parts.test]
    assert sorted(s.identity for s in together) == sorted(s.identity for s in samples)


@given(config=configs, n_train=st.integers(1, 60), n_crack=sizes)
def test_counts_are_rounded_half_up(config: SplitConfig, n_train: int, n_crack: int) -> None:
    """floor(n f + 1/2) of the normals are fitted on, and of the defects validated on, in exact fractions."""
    n_fit = int(Fraction(repr(config.train_fraction)) * n_train + Fraction(1, 2))
    n_validation = int(Fraction(repr(config.validation_defects)) * n_crack + Fraction(1, 2))
    assume(n_fit)
    parts = split(made_up(n_train=n_train, n_good=5, crack=n_crack), config)
    assert len(parts.train) == n_fit
    assert counts(parts.validation).get("crack", 0) == n_validation
    assert counts(parts.validation).get("good", 0) == n_train - n_fit
    assert counts(parts.test).get("crack", 0) == n_crack - n_validation


def test_halves_are_not_lost_to_binary_fractions() -> None:
    """45 * 0.7 is 31.5, and 32 images; in binary it is 31.499999999999996."""
    assert len(split(made_up(n_train=45), SplitConfig(train_fraction=0.7)).train) == 32


@given(config=configs)
def test_parts_hold_what_the_protocol_says(config: SplitConfig) -> None:
    """Train is normals of train/good; all of test/good is for the test; no train image is in the test."""
    assume(config.train_fraction > 0.02)
    parts = split(made_up(), config)
    assert all(s.origin == "train" and s.label == 0 for s in parts.train)
    assert all(s.origin == "train" or s.label == 1 for s in parts.validation)
    assert all(s.origin == "test" for s in parts.test)
    assert counts(parts.test)["good"] == 9


@given(config=configs, data=st.data())
def test_the_order_of_the_samples_does_not_matter(config: SplitConfig, data: st.DataObject) -> None:
    """Shuffled samples give the same split, in the same order."""
    assume(config.train_fraction > 0.02)
    samples = made_up()
    assert split(data.draw(st.permutations(samples)), config) == split(samples, config)


@given(config=configs, n_other=sizes)
def test_other_defect_types_do_not_matter(config: SplitConfig, n_other: int) -> None:
    """More or fewer images of one defect type leave the draw of all the others alone."""
    assume(config.train_fraction > 0.02)
    few, many = (split(made_up(crack=10, stain=n), config) for n in (n_other, n_other + 3))
    for one, other in zip((few.train, few.validation, few.test), (many.train, many.validation, many.test), strict=True):
        assert [s for s in one if s.defect != "stain"] == [s for s in other if s.defect != "stain"]


@given(seed=st.integers(0, 1000))
def test_categories_are_drawn_apart(seed: int) -> None:
    """Two categories with the same file names do not get the same draw."""
    gear, strip = (split(made_up(name), SplitConfig(seed=seed)) for name in ("gear", "strip"))
    assert {s.name for s in gear.train} != {s.name for s in strip.train}


@given(seed=st.integers(0, 1000))
def test_the_seed_matters(seed: int) -> None:
    """Another seed is another draw, of normals and of defects."""
    one, other = (split(made_up(crack=40), SplitConfig(seed=s)) for s in (seed, seed + 1))
    assert one.train != other.train
    assert [s for s in one.validation if s.label] != [s for s in other.validation if s.label]


def test_a_larger_fraction_keeps_the_images_of_a_smaller_one() -> None:
    """Train parts are nested, so that a study of the training size adds images and swaps none."""
    trains = [set(split(made_up(), SplitConfig(train_fraction=f)).train) for f in (0.2, 0.5, 0.8, 1)]
    assert all(smaller < larger for smaller, larger in pairwise(trains))


def test_the_draw_is_the_documented_one() -> None:
    """The first by keyed BLAKE2b are taken; if this ever changes, every stored split and figure is void."""

    def rank(name: str) -> bytes:
        identity = f"gear/{name}".encode()
        return hashlib.blake2b(identity, digest_size=16, key=b"42", person=b"adloc split").digest()

    parts = split(made_up(n_train=10, crack=6), SplitConfig())
    normals = sorted((f"train/good/{i:03}.png" for i in range(10)), key=rank)
    cracks = sorted((f"test/crack/{i:03}.png" for i in range(6)), key=rank)
    assert {s.name for s in parts.train} == set(normals[:8])
    assert {s.name for s in parts.validation} == {*normals[8:], *cracks[:2]}


def test_the_benchmark_split_leaves_nothing_for_validation() -> None:
    """train_fraction 1 and validation_defects 0: all of train/good, an empty validation part, all of test."""
    parts = split(made_up(), SplitConfig(train_fraction=1, validation_defects=0))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (40, 0, 26)


def test_parts_are_in_natural_order() -> None:
    """Within each part the images come by name, whatever the draw was."""
    samples = [Sample("gear", f"train/good/{i}.png", "train", "good", Nowhere(str(i))) for i in reversed(range(120))]
    numbers = [int(s.name[11:-4]) for s in split(samples, SplitConfig()).train]
    assert numbers == sorted(numbers)


def test_real_categories_are_divided_as_the_protocol_says(industrial_root: Path) -> None:
    """Bottle: 80 % of 209, 30 % of 20, 22 and 21, to the nearest image."""
    parts = split(list_category(industrial_root / "bottle").samples, SplitConfig())
    assert counts(parts.train) == {"good": 167}
    assert counts(parts.validation) == {"good": 42, "broken_large": 6, "broken_small": 7, "contamination": 6}
    assert counts(parts.test) == {"good": 20, "broken_large": 14, "broken_small": 15, "contamination": 15}


def test_a_fraction_that_leaves_nothing_to_fit_on_is_refused() -> None:
    """One hundredth of twelve images is none: said with the numbers."""
    with pytest.raises(DatasetError, match=r"gear: split\.train_fraction 0\.01 of 12 images .* is none"):
        split(made_up(n_train=12), SplitConfig(train_fraction=0.01))


def test_samples_of_two_categories_are_a_mistake_of_the_caller() -> None:
    """A split is of one category."""
    with pytest.raises(ValueError, match="several categories: gear, strip"):
        split([*made_up(), *made_up("strip")], SplitConfig())


@pytest.mark.parametrize(
    "given_",
    [
        {"train_fraction": 0},
        {"train_fraction": 1.01},
        {"train_fraction": float("nan")},
        {"validation_defects": 1},
        {"validation_defects": -0.1},
        {"seed": -1},
        {"test_fraction": 0},
        {"test_part": 0.1},
        {"kind": "official", "train_fraction": 0.5},
        {"group": "("},
        {"group": "(a)(b)"},
    ],
)
def test_configurations_outside_the_rules_are_refused(given_: dict[str, float]) -> None:
    """0 < train_fraction <= 1, 0 <= validation_defects < 1, no negative seed, no other key."""
    with pytest.raises(ValidationError):
        SplitConfig(**given_)


def test_every_field_is_described() -> None:
    """The schema says what each field means."""
    assert all(field.description for field in SplitConfig.model_fields.values())


# Content


def test_distinct_contents_are_disjoint() -> None:
    """A split of distinct images passes."""
    samples = made_up()
    check_disjoint(split(samples, SplitConfig()), contents(samples))


def test_the_same_content_in_two_parts_is_named() -> None:
    """Copies under other names in other parts are an error with every path and part."""
    samples = made_up()
    parts = split(samples, SplitConfig())
    known = contents(samples)
    for one, other in ((parts.train[0], parts.test[0]), (parts.validation[0], parts.test[1])):
        known[other.identity] = known[one.identity]
    with pytest.raises(DatasetError) as caught:
        check_disjoint(parts, known)
    first, second = sorted(problem.found for problem in caught.value.problems)
    named = first + second
    assert f"{parts.train[0].source.location} (train) = {parts.test[0].source.location} (test)" in named
    assert f"{parts.validation[0].source.location} (validation)" in named


def test_the_same_content_twice_in_one_part_is_no_overlap() -> None:
    """A copy inside one part biases nothing between the parts."""
    samples = made_up()
    parts = split(samples, SplitConfig())
    known = contents(samples)
    known[parts.train[1].identity] = known[parts.train[0].identity]
    check_disjoint(parts, known)


def test_a_parts_digest_changes_with_its_content() -> None:
    """Another image, mask or label in a part is another digest of that part alone; MLflow takes 36 characters."""
    samples = made_up()
    known = contents(samples)
    whole = make_parts(samples, known, SplitConfig(), None)
    anomalous = next(s.identity for s in whole.test.samples if s.label)
    image, mask = known[anomalous].sha256, known[anomalous].mask_sha256
    others = [
        make_parts(samples, known | {anomalous: changed}, SplitConfig(), None)
        for changed in (Fingerprint("0", mask, 64, 64), Fingerprint(image, "0", 64, 64))
    ]
    assert len({parts.test.digest for parts in (whole, *others)}) == 3
    assert {parts.train.digest for parts in others} == {whole.train.digest}
    assert len(whole.test.digest) <= 36


def test_parts_of_several_categories_can_be_joined() -> None:
    """A pooled split, as the unified scope has it, is checked and listed like any other."""
    samples = [*made_up(), *made_up("strip")]
    splits = [split([s for s in samples if s.category == name], SplitConfig()) for name in ("gear", "strip")]
    one, other = splits
    pooled = Split(one.train + other.train, one.validation + other.validation, one.test + other.test)
    known = contents(samples)
    check_disjoint(pooled, known)
    known[other.test[0].identity] = known[one.train[0].identity]
    with pytest.raises(DatasetError, match=r"\(train\) = .*\(test\)"):
        check_disjoint(pooled, known)


@pytest.mark.parametrize(
    "save", [{"format": "PNG"}, {"format": "BMP"}, {"format": "TIFF"}, {"format": "WEBP", "lossless": True}, "palette"]
)
def test_the_same_pixels_in_another_format_are_the_same_image(mvtec_copy: Path, save: dict[str, Any] | str) -> None:
    """A training image of few colours, saved anew into test/good: as PNG, BMP, TIFF, WebP or with a palette."""
    gear = mvtec_copy / "gear"
    pixels = np.random.default_rng(0).choice(np.array([10, 90, 200], np.uint8), size=(64, 64))
    image = Image.fromarray(pixels)
    image.save(gear / "train/good/000.png")
    target = gear / "test/good/copy.png"
    image.convert("RGB").quantize(8).save(target) if save == "palette" else image.convert("RGB").save(target, **save)
    samples = list_category(gear).samples
    with pytest.raises(DatasetError, match=r"000\.png \((train|validation)\) = .*copy\.png \(test\): the same content"):
        check_disjoint(split(samples, SplitConfig()), fingerprints(samples))
