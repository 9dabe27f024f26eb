"""Images of one object on one side of a split, published parts as they are, and copies that only look the same."""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import fingerprints
from adloc.datasets.look import near_duplicates
from adloc.datasets.readers.mvtec_layout import list_category
from adloc.datasets.sample import Sample
from adloc.datasets.split import Split, SplitConfig, split
from samples import Nowhere, made_up

if TYPE_CHECKING:
    from pathlib import Path

# Groups


def boards(n: int = 10) -> list[Sample]:
    """Three views of each of n boards that are good, and of n that have a crack in one view."""
    good = [("train", "good", f"b{i}_{view}.png") for i in range(n) for view in range(3)]
    cracked = [("test", "crack" if view == 0 else "good", f"c{i}_{view}.png") for i in range(n) for view in range(3)]
    return [
        Sample("gear", f"{origin}/{defect}/{name}", origin, defect, Nowhere(name))
        for origin, defect, name in good + cracked
    ]


def sides(parts: Split) -> dict[str, set[str]]:
    """The parts in which the images of each board are."""
    found: dict[str, set[str]] = defaultdict(set)
    for part, samples in parts.parts():
        for sample in samples:
            found[sample.name.rpartition("/")[2].partition("_")[0]].add(part)
    return found


def test_a_group_stands_on_one_side() -> None:
    """Whole boards are drawn: 8 of 10 to fit on, 3 of 10 cracked ones for validation with their good views."""
    parts = split(boards(), SplitConfig(group=r"/([bc]\d+)_"))
    assert all(len(where) == 1 for where in sides(parts).values())
    assert [len(part) for _, part in parts.parts()] == [8 * 3, 2 * 3 + 3 * 3, 7 * 3]
    assert any(len(where) > 1 for where in sides(split(boards(), SplitConfig())).values())


@pytest.mark.parametrize("seed", range(5))
def test_groups_do_not_depend_on_the_order(seed: int) -> None:
    """The draw is by the group's name, whatever the order of the images."""
    config, shuffled = SplitConfig(group=r"/([bc]\d+)_"), boards(5)
    random.Random(seed).shuffle(shuffled)  # noqa: S311
    assert split(shuffled, config) == split(boards(5), config)


def test_the_groups_of_the_dataset_are_kept() -> None:
    """A table's column groups images without a pattern; an image without a group is drawn by itself."""
    samples = [
        replace(s, group=None if s.name.endswith("b9_2.png") else s.name.rpartition("/")[2][:2]) for s in boards()
    ]
    found = sides(split(samples, SplitConfig()))
    assert all(len(where) == 1 for board, where in found.items() if board != "b9")


def test_a_group_of_two_origins_goes_to_the_test_as_a_whole() -> None:
    """Views of one good board in train and in test: none of them is fitted on."""
    samples = [
        *made_up(crack=0, n_good=0),
        Sample("gear", "train/good/z_0.png", "train", "good", Nowhere("0"), group="z"),
        Sample("gear", "test/good/z_1.png", "test", "good", Nowhere("1"), group="z"),
    ]
    parts = split(samples, SplitConfig())
    assert {s.name for s in parts.test if s.group == "z"} == {"train/good/z_0.png", "test/good/z_1.png"}


def test_a_pattern_that_finds_nothing_is_refused() -> None:
    """Every image must have its group: the error has the pattern, the number and the first name."""
    with pytest.raises(DatasetError, match=r"split\.group \(x\) finds nothing in 60 of 60 names of gear, the first is"):
        split(boards(), SplitConfig(group="(x)"))


def test_a_group_in_two_published_parts_is_refused() -> None:
    """An official split divides nothing anew, so it cannot mend that either."""
    samples = [replace(s, part=s.origin, group="all") for s in boards()]
    with pytest.raises(DatasetError, match="its group all is in train too"):
        split(samples, SplitConfig(kind="official"))


def test_anomalous_images_beside_the_training_ones_are_for_validation() -> None:
    """What a publisher offers for supervised training is neither fitted on nor tested on."""
    extra = [Sample("gear", f"train/crack/{i}.png", "train", "crack", Nowhere(str(i))) for i in range(4)]
    parts = split([*made_up(), *extra], SplitConfig())
    assert set(extra) <= set(parts.validation)


# Looks


def test_copies_that_were_compressed_or_resized_are_found(industrial_root: Path, tmp_path: Path) -> None:
    """A bottle as JPEG at quality 95 and one at half the size, in test/good: both pairs, and no other."""
    bottle = tmp_path / "bottle"
    for folder, n in (("train/good", 20), ("test/good", 5), ("test/contamination", 5)):
        (bottle / folder).mkdir(parents=True)
        for path in sorted((industrial_root / "bottle" / folder).iterdir())[:n]:
            shutil.copy(path, bottle / folder / path.name)
    with Image.open(bottle / "train/good/003.jpg") as image:
        image.save(bottle / "test/good/compressed.jpg", quality=95)
    with Image.open(bottle / "train/good/004.jpg") as image:
        image.resize((224, 224)).save(bottle / "test/good/resized.png")
    samples = list_category(bottle, masks="optional").samples
    pairs = near_duplicates(split(samples, SplitConfig(train_fraction=1)), fingerprints(samples))
    assert {(pair.one.name, pair.other.name) for pair in pairs} == {
        ("train/good/003.jpg", "test/good/compressed.jpg"),
        ("train/good/004.jpg", "test/good/resized.png"),
    }
    assert {(pair.one_part, pair.other_part) for pair in pairs} == {("train", "test")}
