"""MVTec AD's catalogue, and the choice of categories in a folder of its layout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from adloc.datasets import DatasetConfig, check, load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.readers.mvtec_ad import CATALOGUE, MvtecAdConfig

if TYPE_CHECKING:
    from pathlib import Path


def test_the_catalogue_adds_up_to_the_published_totals() -> None:
    """15 categories: 3629 train; 1725 test, of these 467 good; 73 defect types."""
    facts = CATALOGUE.values()
    assert len(CATALOGUE) == 15
    assert sum(fact.n_train for fact in facts) == 3629
    assert sum(fact.n_test_good for fact in facts) == 467
    assert sum(fact.n_test_anomalous for fact in facts) == 1258
    assert sum(fact.n_test_good + fact.n_test_anomalous for fact in facts) == 1725
    assert sum(fact.n_defect_types for fact in facts) == 73


def test_real_bottle_has_the_published_counts(industrial_root: Path) -> None:
    """The check of the real bottle has nothing to say, about counts or otherwise."""
    report = check(MvtecAdConfig(root=industrial_root, categories=["bottle"]))
    assert (report.errors, report.warnings) == ((), ())


def test_all_categories_come_in_natural_order(mvtec_tree: Path) -> None:
    """`all` is every subfolder with a train folder, one after the other."""
    samples = load_samples(MvtecAdConfig(root=mvtec_tree, categories="all"))
    assert list(dict.fromkeys(sample.category for sample in samples)) == ["gear", "strip"]
    assert len(samples) == 2 * (12 + 4 + 10)
    assert len({sample.identity for sample in samples}) == len(samples)


def test_categories_come_in_the_order_asked_for(mvtec_tree: Path) -> None:
    """A list of categories keeps its order."""
    samples = load_samples(MvtecAdConfig(root=mvtec_tree, categories=["strip", "gear"]))
    assert list(dict.fromkeys(sample.category for sample in samples)) == ["strip", "gear"]


def test_other_folders_beside_the_categories_are_passed_over(mvtec_copy: Path) -> None:
    """A folder without train inside is no category."""
    (mvtec_copy / "__MACOSX").mkdir()
    assert load_samples(MvtecAdConfig(root=mvtec_copy)) == load_samples(
        MvtecAdConfig(root=mvtec_copy, categories=["gear", "strip"])
    )


def test_a_root_that_is_not_there_says_where_the_data_is_to_be_had(tmp_path: Path) -> None:
    """The error names the folder, MVTec's page, the variable to set, and the data that needs no download."""
    with pytest.raises(DatasetError) as caught:
        load_samples(MvtecAdConfig(root=tmp_path / "nowhere"))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'nowhere'}: no such folder")
    assert caught.value.problems[0].key == ("root",)
    for part in (
        "MVTec Anomaly Detection Dataset",
        "licence",
        "MVTEC_AD_ROOT",
        "{kind: textures, categories: all}",
    ):
        assert part in message


def test_unknown_categories_are_all_named_with_the_nearest(mvtec_tree: Path) -> None:
    """Each unknown category gives the list of what there is and the nearest of it."""
    with pytest.raises(DatasetError) as caught:
        load_samples(MvtecAdConfig(root=mvtec_tree, categories=["gaer", "strip", "Stripe"]))
    first, second = caught.value.problems
    assert "gaer: no such category" in first.found
    assert "gear, strip" in first.rule
    assert "use gear" in first.remedy
    assert "use strip" in second.remedy
    assert (first.key, second.key) == (("categories", 0), ("categories", 2))


def test_a_root_one_folder_too_low_or_too_high_is_recognised(mvtec_tree: Path, tmp_path: Path) -> None:
    """Pointing at a category, or at the folder above the dataset, is answered with the right root."""
    alone = tmp_path / "data"  # other tests' datasets lie beside the tree
    alone.symlink_to(mvtec_tree)
    with pytest.raises(DatasetError, match=r"use root .* with categories \[gear\]"):
        load_samples(MvtecAdConfig(root=mvtec_tree / "gear"))
    with pytest.raises(DatasetError) as caught:
        load_samples(MvtecAdConfig(root=tmp_path))
    assert caught.value.problems[0].remedy == f"use root {alone}"


def test_the_problems_of_all_categories_come_together(mvtec_copy: Path) -> None:
    """Errors in two categories are one exception that names both."""
    (mvtec_copy / "gear/ground_truth/hole/000_mask.png").unlink()
    shutil.rmtree(mvtec_copy / "strip/test")
    with pytest.raises(DatasetError) as caught:
        load_samples(MvtecAdConfig(root=mvtec_copy))
    assert "gear/test/hole/000.png: no mask" in str(caught.value)
    assert "strip/test: no images" in str(caught.value)
    assert check(MvtecAdConfig(root=mvtec_copy)).errors == caught.value.problems


def test_counts_other_than_the_published_ones_are_a_warning(mvtec_copy: Path) -> None:
    """A category called zipper with other counts than MVTec AD's is used, with a warning that gives both."""
    (mvtec_copy / "gear").rename(mvtec_copy / "zipper")
    report = check(MvtecAdConfig(root=mvtec_copy, categories=["zipper"]))
    assert report.ok
    (warning,) = report.warnings
    assert "12 train/good, 4 test/good and 10 anomalous images of 2 types" in warning.found
    assert "240 train/good, 32 test/good and 119 anomalous images of 7 types" in warning.rule


def test_an_unusable_root_is_an_error_of_the_check(tmp_path: Path) -> None:
    """The check reports a missing root instead of raising."""
    assert not check(MvtecAdConfig(root=tmp_path / "nowhere")).ok


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "mvtec_ad"},
        {"kind": "mvtec_ad", "root": "x", "categories": []},
        {"kind": "mvtec_ad", "root": "x", "categories": "bottle"},
        {"kind": "mvtec_ad", "root": "x", "categories": ["bottle", "bottle"]},
        {"kind": "mvtec_ad", "root": "x", "category": ["bottle"]},
        {"kind": "mvtec"},
    ],
)
def test_configurations_that_cannot_be_meant_are_refused(given: dict[str, object]) -> None:
    """A missing root, no category, one named twice, a misspelt key or kind: refused by the configuration."""
    with pytest.raises(ValidationError):
        TypeAdapter(DatasetConfig).validate_python(given)


@pytest.mark.parametrize("given", [{"kind": "mvtec_ad", "root": "x"}, {"kind": "textures"}])
def test_the_kind_chooses_the_configuration(given: dict[str, str]) -> None:
    """Each kind gives its own frozen class; its JSON gives the same configuration again."""
    config = TypeAdapter(DatasetConfig).validate_python(given)
    assert isinstance(config, BaseModel)
    assert config.kind == given["kind"]
    assert TypeAdapter(DatasetConfig).validate_json(config.model_dump_json()) == config
    assert hash(config) == hash(config.model_copy())


def test_the_registry_is_light_to_import() -> None:
    """Configurations can be checked without numpy, Pillow, OpenCV, scikit-image or torch."""
    code = "import sys, adloc.datasets, adloc.datasets.split, adloc.datasets.transform; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "PIL", "cv2", "skimage", "scipy", "torch"}
    assert heavy.isdisjoint(done.stdout.split())
