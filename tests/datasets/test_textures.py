"""The embedded textures dataset."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import ndimage

from adloc.datasets.sample import GOOD, Picture, Sample
from adloc.datasets.texture_pixels import render
from adloc.datasets.textures import CATEGORIES, DEFECTS, TextureImage, TexturesConfig, samples

SMALL = TexturesConfig(n_train=4, n_test_good=2, n_per_defect=4)


@pytest.fixture(scope="module")
def drawn() -> list[tuple[Sample, Picture]]:
    """Every sample of a small dataset with its picture."""
    return [(sample, sample.source.read()) for sample in samples(SMALL)]


@pytest.fixture(scope="module")
def anomalous(drawn: list[tuple[Sample, Picture]]) -> list[tuple[Sample, Picture]]:
    """The anomalous ones: four of each defect type and category."""
    return [(sample, picture) for sample, picture in drawn if sample.label == 1]


def test_counts_are_as_asked() -> None:
    """Each category has its train, normal and anomalous images, and all six defect types."""
    config = TexturesConfig(n_train=5, n_test_good=3, n_per_defect=2)
    made = samples(config)
    for category in CATEGORIES:
        own = [s for s in made if s.category == category]
        assert sum(s.origin == "train" for s in own) == 5
        assert sum(s.origin == "test" and s.label == 0 for s in own) == 3
        for defect in DEFECTS:
            assert sum(s.defect == defect for s in own) == 2
        assert len(own) == 5 + 3 + 2 * 6


def test_names_follow_the_mvtec_ad_layout() -> None:
    """Names are origin/defect/number.png, each once, and the train folder holds normal images only."""
    made = samples(TexturesConfig(categories=("brick",)))
    assert {"train/good/000.png", "test/good/019.png", "test/cut/003.png"} <= {s.name for s in made}
    assert len({s.identity for s in made}) == len(made)
    for sample in made:
        origin, defect, file = sample.name.split("/")
        assert (origin, defect) == (sample.origin, sample.defect)
        assert file.endswith(".png")
        assert origin == "test" or defect == GOOD


def test_categories_can_be_chosen_in_order() -> None:
    """Only the categories asked for are made, in the order asked for."""
    made = samples(TexturesConfig(categories=("gravel", "brick")))
    assert list(dict.fromkeys(s.category for s in made)) == ["gravel", "brick"]


@pytest.mark.slow
def test_same_pixels_in_another_process_and_order(drawn: list[tuple[Sample, Picture]]) -> None:
    """Another process that draws every fifth image in reverse order gets the same hashes."""
    chosen = {sample.name: sample.source.fingerprint() for sample, _ in drawn if sample.category == "grass"}
    names = list(chosen)[::-5]
    program = (
        "import json; from dataclasses import astuple; from adloc.datasets.textures import TextureImage\n"
        f"images = [TextureImage('grass', n, 42, 256) for n in {names}]\n"
        "print(json.dumps({i.name: astuple(i.fingerprint()) for i in images}))"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    there = json.loads(run.stdout)
    assert list(there) == names
    for name in names:
        assert there[name][:2] == [chosen[name].sha256, chosen[name].mask_sha256]


def test_counts_and_categories_leave_an_image_alone() -> None:
    """An image's source does not depend on how many others there are, so neither do its pixels."""
    few, many = TexturesConfig(categories=("brick",), n_train=3), TexturesConfig(n_train=90, n_per_defect=9)
    assert {s.identity: s.source for s in samples(few)}.items() <= {s.identity: s.source for s in samples(many)}.items()


def test_no_two_images_are_alike(drawn: list[tuple[Sample, Picture]]) -> None:
    """Every image of a dataset has pixels of its own, in train and test and in all categories."""
    assert len({picture.image.tobytes() for _, picture in drawn}) == len(drawn)


def test_another_seed_changes_everything(drawn: list[tuple[Sample, Picture]]) -> None:
    """With another seed each image shows another view and each defect another mask."""
    for sample, picture in drawn[::4]:
        assert isinstance(sample.source, TextureImage)
        other = replace(sample.source, seed=43).read()
        assert (other.image != picture.image).any(axis=2).mean() > 0.8
        assert sample.label == 0 or (other.mask != picture.mask).any()


def test_nothing_changes_outside_the_mask(anomalous: list[tuple[Sample, Picture]]) -> None:
    """Outside its mask an anomalous image equals the same image without its defect, bit for bit."""
    for sample, picture in anomalous:
        assert isinstance(sample.source, TextureImage)
        before = render(sample.source, with_defect=False)
        np.testing.assert_array_equal(picture.image[~picture.mask], before.image[~picture.mask])
        assert not before.mask.any()


def test_the_mask_is_what_changed(anomalous: list[tuple[Sample, Picture]]) -> None:
    """Nearly every pixel of a mask differs from the undamaged image, and on average visibly so."""
    for sample, picture in anomalous:
        assert isinstance(sample.source, TextureImage)
        before = render(sample.source, with_defect=False)
        change = np.abs(picture.image.astype(int) - before.image).max(axis=2)[picture.mask]
        assert (change > 0).mean() > 0.9, sample.identity
        assert change.mean() > 2, sample.identity


def test_defects_are_small_and_there(anomalous: list[tuple[Sample, Picture]]) -> None:
    """A defect marks ten pixels or more, and less than a quarter of the image; all types occur everywhere."""
    assert {(s.category, s.defect) for s, _ in anomalous} == {(c, d) for c in CATEGORIES for d in DEFECTS}
    for sample, picture in anomalous:
        assert picture.mask.sum() >= 10, sample.identity
        assert picture.mask.mean() < 0.25, sample.identity


def test_a_defect_is_one_region_or_few(anomalous: list[tuple[Sample, Picture]]) -> None:
    """Masks are regions, not scattered pixels: PRO counts every 8-connected region alike."""
    for sample, picture in anomalous:
        assert ndimage.label(picture.mask, np.ones((3, 3)))[1] <= 4, sample.identity


def test_defects_vary_in_size(anomalous: list[tuple[Sample, Picture]]) -> None:
    """Within a defect type the largest mask is at least twice the smallest."""
    for defect in DEFECTS:
        areas = [int(picture.mask.sum()) for sample, picture in anomalous if sample.defect == defect]
        assert max(areas) >= 2 * min(areas)


def test_normal_images_have_empty_masks(drawn: list[tuple[Sample, Picture]]) -> None:
    """Good images have no defect pixel and no mask hash."""
    for sample, picture in drawn:
        if sample.label == 0:
            assert not picture.mask.any()
            assert sample.source.fingerprint().mask_sha256 == ""


def test_pictures_are_colour_images_in_range(drawn: list[tuple[Sample, Picture]]) -> None:
    """Images are uint8 RGB of the asked size, tinted, neither black nor burnt out; masks are bool."""
    for _, picture in drawn:
        assert picture.image.shape == (256, 256, 3)
        assert picture.image.dtype == np.uint8
        assert picture.mask.shape == (256, 256)
        assert picture.mask.dtype == np.bool_
        assert 60 < picture.image.mean() < 190
        assert (picture.image[..., 0] != picture.image[..., 2]).mean() > 0.5


@pytest.mark.parametrize("size", [32, 100, 400])
@pytest.mark.parametrize("defect", DEFECTS)
def test_size_changes_resolution_not_content(defect: str, size: int) -> None:
    """At another size the same view is shown: shrunk to the smaller size, the two are alike."""
    reference = TextureImage("brick", f"test/{defect}/000.png", 42, 256)
    other = render(replace(reference, size=size), with_defect=False).image.mean(axis=2)
    same = render(reference, with_defect=False).image.mean(axis=2)
    small, large = (other, same) if size < 256 else (same, other)
    shrunk = ndimage.zoom(
        ndimage.gaussian_filter(large, 0.45 * len(large) / len(small)),
        len(small) / len(large),
        order=1,
        grid_mode=True,
        mode="nearest",
    )
    assert np.corrcoef(shrunk.ravel(), small.ravel())[0, 1] > 0.9
    assert 0 < replace(reference, size=size).read().mask.mean() < 0.25


def test_source_is_a_small_value(drawn: list[tuple[Sample, Picture]]) -> None:
    """A source survives pickling, works as a key, and its repr names all that its pixels depend on."""
    source = drawn[0][0].source
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301
    assert len({s.source for s, _ in drawn}) == len(drawn)
    assert repr(source) == "TextureImage(category='brick', name='train/good/000.png', seed=42, size=256, version=1)"
    assert source.location == "textures(seed=42, size=256): brick/train/good/000.png"


@pytest.mark.parametrize(
    ("given_fields", "key"),
    [
        ({"categories": ["brick", "wood"]}, "categories"),
        ({"categories": []}, "categories"),
        ({"categories": ["brick", "brick"]}, "categories"),
        ({"size": 8}, "size"),
        ({"n_train": 0}, "n_train"),
        ({"seed": -1}, "seed"),
        ({"colour": True}, "colour"),
    ],
)
def test_senseless_settings_are_refused(given_fields: dict[str, object], key: str) -> None:
    """A setting that makes no sense is refused at its key."""
    with pytest.raises(ValidationError) as caught:
        TexturesConfig.model_validate({"kind": "textures", **given_fields})
    assert {error["loc"][0] for error in caught.value.errors()} == {key}


def test_config_survives_json() -> None:
    """A dumped config reads back equal."""
    config = TexturesConfig(categories=("brick", "gravel"), seed=7)
    assert TexturesConfig.model_validate_json(config.model_dump_json()) == config


def test_importing_textures_is_light() -> None:
    """Listing samples loads neither numpy nor any image library."""
    program = (
        "import sys; from adloc.datasets.textures import *; samples(TexturesConfig())\n"
        "print(sorted({'numpy', 'cv2', 'skimage', 'scipy', 'PIL'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
