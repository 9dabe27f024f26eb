"""Every reader on a miniature of its layout: the same images, labels and masks as the MVTec AD layout has."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import pytest
from click.testing import CliRunner
from PIL import Image
from pydantic import BaseModel, TypeAdapter, ValidationError

from adloc.cli import cli
from adloc.cli.data import check_command
from adloc.datasets import DatasetConfig, KindConfig, OwnDataset, check, load_samples
from adloc.datasets.errors import DatasetError
from adloc.datasets.readers import aebad_s, btad, kolektor, mpdd, mvtec_ad, mvtec_ad_2, mvtec_loco, real_iad, visa
from adloc.datasets.sample import GOOD
from adloc.datasets.split import SplitConfig, split
from checkout import ROOT
from layouts import LAYOUTS
from pages import page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from adloc.datasets.readers.published import Counts
    from adloc.datasets.sample import Sample

KINDS = sorted(LAYOUTS)


def configure(kind: str, root: Path, **more: object) -> KindConfig:
    """A configuration by its kind, as a study file gives it."""
    place: dict[str, object] = {"file": root / "images.csv"} if kind == "table" else {"root": root}
    return TypeAdapter(DatasetConfig).validate_python({"kind": kind, **place, **LAYOUTS[kind].config, **more})


@pytest.fixture(scope="session")
def relaid(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Root of each layout, to read only: "gear", and "strip" where a layout has several categories."""
    roots = {}
    for kind, layout in LAYOUTS.items():
        roots[kind] = tmp_path_factory.mktemp(kind)
        for category in ("gear", "strip") if layout.several else ("gear",):
            layout.write(mvtec_tree / category, roots[kind])
    return roots


@pytest.fixture
def miniature(relaid: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Root of a copy of one layout that the test may change."""
    root = tmp_path / "copy"
    shutil.copytree(relaid[request.param], root)
    yesterday = time.time() - 86_400
    for path in root.rglob("*"):
        os.utime(path, (yesterday, yesterday))
    return root


def contents(samples: Iterable[Sample]) -> dict[str, tuple[object, ...]]:
    """By the image's bytes: category, label, pixels and mask."""
    found = {}
    for sample in samples:
        picture = sample.source.read()
        key = hashlib.sha256(sample.source.image_path.read_bytes()).hexdigest()
        found[key] = (sample.label, picture.image.tobytes(), picture.mask.tobytes())
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_behind_a_url_is_that_of_a_folder(
    kind: str, relaid: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same samples in the same order, the same bytes; what is written down of it is the URL."""
    monkeypatch.setenv("ADLOC_CACHE", str(tmp_path / "cache"))
    url = f"file://{relaid[kind]}"
    here, there = configure(kind, relaid[kind]), configure(kind, Path(url))
    assert url in str(there.model_dump(mode="json"))
    for one, other in zip(load_samples(here), load_samples(there), strict=True):
        assert (one.identity, one.label, one.defect, one.domain) == (
            other.identity, other.label, other.defect, other.domain,
        )  # fmt: skip
        assert one.source.fingerprint() == other.source.fingerprint()


@pytest.mark.parametrize("kind", KINDS)
def test_a_layout_gives_the_images_labels_and_masks_of_mvtec_ad(
    kind: str, relaid: dict[str, Path], mvtec_tree: Path
) -> None:
    """The same images laid out anew are the same samples: labels, pixels and masks, none missing, none more."""
    categories = ["gear", "strip"] if LAYOUTS[kind].several else ["gear"]
    original = load_samples(configure("mvtec_ad", mvtec_tree, categories=categories))
    samples = load_samples(configure(kind, relaid[kind]))
    assert len(samples) == len(original)
    assert contents(samples) == contents(original)
    assert len({sample.identity for sample in samples}) == len(samples)
    if LAYOUTS[kind].several:
        assert list(dict.fromkeys(sample.category for sample in samples)) == ["gear", "strip"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if LAYOUTS[kind].divided])
def test_a_layout_keeps_training_and_test_images_apart(kind: str, relaid: dict[str, Path], mvtec_tree: Path) -> None:
    """Normal images for training and for the test are those of the original; anomalous ones are never trained on."""
    original = {s.source.image_path.read_bytes(): s for s in load_samples(configure("mvtec_ad", mvtec_tree))}
    for sample in load_samples(configure(kind, relaid[kind])):
        same = original[sample.source.image_path.read_bytes()]
        if sample.label == 0:
            assert sample.origin == same.origin
        elif kind != "kolektor_sdd2":
            assert sample.origin == "test"


@pytest.mark.parametrize("kind", KINDS)
def test_a_miniature_has_no_problems(kind: str, relaid: dict[str, Path]) -> None:
    """The whole check has nothing to say of a true layout."""
    report = check(configure(kind, relaid[kind]))
    found = [warning.found for warning in report.warnings]
    if kind.startswith("kolektor"):  # one category each, whose counts are published
        assert found.pop(0).startswith(f"{kind}: {12 if LAYOUTS[kind].divided else 16} train/good")
    assert (report.errors, found) == ((), [])


# (train, validation, test) of "gear": 12 normal images to train on, 4 to test on, 10 anomalous.
OFFICIAL = {
    "mvtec_ad": (12, 0, 14),
    "mpdd": (12, 0, 14),
    "btad": (12, 0, 14),
    "visa": (12, 0, 14),
    "real_iad": (12, 0, 14),
    "aebad_s": (12, 0, 14),
    "table": (12, 0, 14),
    "mvtec_ad_2": (9, 3, 14),  # every fourth training image is for validation
    "mvtec_loco": (9, 3, 14),
    "kolektor_sdd2": (12, 1, 13),  # one of the holes lies in train
}


@pytest.mark.parametrize("kind", OFFICIAL)
def test_the_official_split_is_kept(kind: str, relaid: dict[str, Path]) -> None:
    """`split: {kind: official}` takes every image's part from the layout."""
    samples = [s for s in load_samples(configure(kind, relaid[kind])) if s.category != "strip"]
    parts = split(samples, SplitConfig(kind="official"))
    assert tuple(len(part) for _, part in parts.parts()) == OFFICIAL[kind]
    assert all(sample.label == 0 for sample in parts.train)


@pytest.mark.parametrize("kind", ["kolektor_sdd", "folder"])
def test_without_published_parts_there_is_no_official_split(kind: str, relaid: dict[str, Path]) -> None:
    """It is refused, with the image and the way out."""
    samples = [s for s in load_samples(configure(kind, relaid[kind])) if s.category != "strip"]
    with pytest.raises(DatasetError, match=r"no published part(.|\n)*use split\.kind: drawn"):
        split(samples, SplitConfig(kind="official"))


def test_domains_come_from_folders_and_names(relaid: dict[str, Path]) -> None:
    """AeBAD-S names them by folders, MVTec AD 2 by the light in the file's name."""
    blades = load_samples(configure("aebad_s", relaid["aebad_s"]))
    assert all(sample.domain == sample.name.split("/")[2] for sample in blades)
    lights = load_samples(configure("mvtec_ad_2", relaid["mvtec_ad_2"]))
    assert {sample.domain for sample in lights if sample.origin == "test"} == {"regular", "shift_1"}
    assert {sample.domain for sample in lights if sample.origin == "train"} == {"regular"}


def test_a_pattern_finds_domains(mvtec_tree: Path) -> None:
    """One group in brackets: what it finds is the domain; where it finds nothing is said."""
    samples = load_samples(configure("mvtec_ad", mvtec_tree, domain=r"^(?P<domain>train|test)/"))
    assert all(sample.domain == sample.origin for sample in samples)
    partly = check(configure("mvtec_ad", mvtec_tree, categories=["gear"], domain=r"^(train)/"))
    assert any("no domain in its name; so it is for 14 images" in w.found for w in partly.warnings)
    with pytest.raises(DatasetError, match="no domain in its name; so it is for 26 images") as caught:
        load_samples(configure("mvtec_ad", mvtec_tree, categories=["gear"], domain="(nowhere)"))
    assert caught.value.problems[0].key == ("domain",)


# Masks that are missing


ONE_MASK = {
    "mvtec_ad": "gear/ground_truth/hole/002_mask.png",
    "mpdd": "gear/ground_truth/hole/002_mask.png",
    "btad": "gear/ground_truth/ko/testhole002.png",
}


@pytest.mark.parametrize("miniature", ONE_MASK, indirect=True)
def test_a_missing_mask_is_refused_or_counted(miniature: Path, request: pytest.FixtureRequest) -> None:
    """By default an error that names the image; with `masks: optional` a sample whose mask is unknown, and a count."""
    kind = request.node.callspec.params["miniature"]
    (miniature / ONE_MASK[kind]).unlink()
    with pytest.raises(DatasetError, match=r"002\.png: no mask(.|\n)*masks: optional"):
        load_samples(configure(kind, miniature))
    config = configure(kind, miniature, masks="optional")
    samples = load_samples(config)
    (unknown,) = [sample for sample in samples if not sample.mask_known]
    assert unknown.label == 1
    assert unknown.source.read().mask is None
    assert any("no mask for 1 of 10 anomalous images of gear" in w.found for w in check(config).warnings)


def test_an_unknown_mask_leaves_other_keys_alone(relaid: dict[str, Path]) -> None:
    """Without any mask an image hashes as before, its mask as none."""
    sample = load_samples(configure("mvtec_ad", relaid["mvtec_ad"]))[-1]
    bare = replace(sample.source, mask_path=None, mask_known=False).fingerprint()
    assert bare.sha256 == sample.source.fingerprint().sha256
    assert bare.mask_sha256 == ""


# Mistakes


SOURCES = [kind for kind in KINDS if kind not in ("folder", "table")]


@pytest.mark.parametrize("kind", SOURCES)
def test_a_missing_dataset_says_where_it_is_to_be_had(kind: str, tmp_path: Path) -> None:
    """The error names the folder, the publisher's page and the licence; an empty folder is answered alike."""
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DatasetError) as caught:
            load_samples(configure(kind, root))
        problem = caught.value.problems[0]
        assert problem.found.startswith(str(root))
        assert "https://" in problem.remedy
        assert "licence" in problem.remedy
        assert problem.key == ("root",)


@pytest.mark.parametrize("kind", KINDS)
def test_configurations_forbid_other_keys(kind: str, tmp_path: Path) -> None:
    """A key that does not exist is refused by every reader; each has a description for every key."""
    with pytest.raises(ValidationError):
        configure(kind, tmp_path, colour="red")
    config = configure(kind, tmp_path)
    assert isinstance(config, BaseModel)
    fields = type(config).model_fields
    assert all(field.description for name, field in fields.items() if name != "kind")


@pytest.mark.parametrize("miniature", ["mvtec_ad"], indirect=True)
@pytest.mark.parametrize(("train", "good"), [("train", "ok"), ("Train", "Good")])
def test_other_folder_names_are_answered_with_kind_folder(miniature: Path, train: str, good: str) -> None:
    """The error says which keys of `kind: folder` read what is there."""
    gear = miniature / "gear"
    (gear / "train/good").rename(gear / "train" / good)
    (gear / "train").rename(gear / train)
    expected = (
        f"use kind: folder with normal: [{train}/{good}/*], test_normal: [test/good/*],"
        " anomalous: [test/glare/*, test/hole/*]"
    )
    report = check(configure("mvtec_ad", miniature))
    assert expected in "".join(p.remedy for p in (*report.errors, *report.warnings))
    shutil.rmtree(miniature / "strip")
    with pytest.raises(DatasetError) as caught:
        load_samples(configure("mvtec_ad", miniature))
    assert expected in caught.value.problems[0].remedy


@pytest.mark.parametrize("miniature", ["mvtec_ad"], indirect=True)
def test_unread_formats_are_one_line(miniature: Path) -> None:
    """A hundred photographs in a format that is not read are one error, with how many and what to do."""
    folder = miniature / "gear/train/good"
    for path in folder.iterdir():
        path.unlink()
    for i in range(108):
        (folder / f"{i}.heic").write_bytes(b"x")
    report = check(configure("mvtec_ad", miniature, categories=["gear"]))
    assert [error.found for error in report.errors] == [
        f"{folder}: no images (only 108 .heic files, which are not read)"
    ]
    assert [w.found for w in report.warnings] == [
        f"{folder}: 108 .heic files, an image format that is not read, not read (the first is 0.heic)"
    ]


def test_no_message_advises_to_delete_or_move_data() -> None:
    """Whatever is wrong, the user's files are left where they are."""
    rooms = ROOT / "datasets"
    words = ("or delete", "delete the", "remove the image", "move or", "move the", "move it", "delete it")
    said = [f"{p.name}: {w}" for p in rooms.rglob("*.py") for w in words if w in p.read_text(encoding="utf-8")]
    assert said == []


@pytest.mark.parametrize("miniature", ["mvtec_ad"], indirect=True)
def test_masks_that_cannot_be_meant_are_named(miniature: Path) -> None:
    """Empty, covering everything, or marking something on a normal image: each with its file."""
    masks = miniature / "gear/ground_truth"
    for name, value in (("hole/000_mask.png", 0), ("hole/001_mask.png", 255), ("good/000_mask.png", 255)):
        (masks / name).parent.mkdir(exist_ok=True)
        Image.new("L", (64, 64), value).save(masks / name)
    soft = Image.new("L", (64, 64), 255)
    soft.putpixel((3, 3), 90)
    soft.save(masks / "hole/002_mask.png")
    found = "\n".join(w.found for w in check(configure("mvtec_ad", miniature, categories=["gear"])).warnings)
    assert "hole/000_mask.png: marks nothing" in found
    assert "hole/001_mask.png: covers the whole image" in found
    assert "good/000_mask.png: marks a defect on a normal image" in found
    assert "hole/002_mask.png: 1 masks are soft" in found


def test_counts_other_than_published_are_a_warning(mvtec_tree: Path, tmp_path: Path) -> None:
    """A category named as a published one, with other counts, is used and said to be another."""
    LAYOUTS["btad"].write(mvtec_tree / "gear", tmp_path)
    (tmp_path / "gear").rename(tmp_path / "01")
    (warning,) = check(configure("btad", tmp_path, categories=["01"])).warnings
    assert warning.found == "01: 12 train/good, 4 test/good and 10 anomalous images"
    assert warning.rule == "BTAD's 01 has 400 train/good, 21 test/good and 49 anomalous images"


@pytest.mark.parametrize(
    ("counts", "train", "validation", "test", "anomalous"),
    [
        # 3,651 images in the archive; IJCV 130, table 1 has 7 fewer of splicing_connectors
        (mvtec_loco.COUNTS, 1778, 305, 575, 432 + 561),
        (mvtec_ad_2.COUNTS, 2528, 302, 379, 705),  # the public parts of 8,004 images; 2 x 2,045 are private
        (visa.COUNTS, 8659, 0, 962, 1200),  # 9,621 normal images
        (btad.COUNTS, 1799, 0, 451, 290),  # 2,540 images
        (mpdd.COUNTS, 888, 0, 176, 282),
        ({"": kolektor.SDD_COUNTS}, 347, 0, 0, 52),  # 399 images
        ({"": kolektor.SDD2_COUNTS}, 2085, 0, 894, 356),  # 2,331 and 1,004 images
    ],
)
def test_catalogues_add_up_to_the_published_totals(
    counts: Mapping[str, Counts], train: int, validation: int, test: int, anomalous: int
) -> None:
    """The sums over all categories are those of the papers."""
    every = list(counts.values())
    assert sum(each.n_train for each in every) == train
    assert sum(each.n_validation for each in every) == validation
    assert sum(each.n_test_good for each in every) == test
    assert sum(each.n_test_anomalous for each in every) == anomalous


def test_the_documentation_and_the_help_name_every_kind() -> None:
    """A user finds each reader with its page and licence in docs/data.md, and in the help of the check."""
    text = page("data")
    for config in get_args(OwnDataset):
        kind = config.model_fields["kind"].default
        assert f"`{kind}`" in text or f"kind: {kind}" in text
        assert kind in str(check_command.help)
    published = (aebad_s, btad, mpdd, mvtec_ad, mvtec_ad_2, mvtec_loco, real_iad, visa)
    for facts in (*(module.PUBLISHED for module in published), kolektor.SDD, kolektor.SDD2):
        assert f"[{facts.name}]({facts.page})" in text
        assert facts.licence.partition(",")[0] in text


def test_the_command_line_lists_every_kind() -> None:
    """`adloc datasets` names each kind with what it is; a published one with its licence and page."""
    listed = {row["kind"]: row for row in json.loads(CliRunner().invoke(cli, ["datasets", "--json"]).output)}
    assert listed.keys() == {config.model_fields["kind"].default for config in get_args(OwnDataset)}
    assert all(row["what"] for row in listed.values())
    assert [key["name"] for key in listed["visa"].pop("keys")] == ["root", "domain", "masks", "categories"]
    assert listed["visa"] == {
        "kind": "visa",
        "origin": "adloc",
        "problem": "",
        "what": "VisA as it is published",
        "name": "VisA",
        "licence": "CC BY 4.0",
        "page": "https://github.com/amazon-science/spot-diff",
    }
    own = {kind for kind, row in listed.items() if row["page"] is None}
    assert own == {"folder", "table", "textures"}
    text = CliRunner().invoke(cli, ["datasets"]).output
    assert all(row["kind"] in text and (row["page"] or "") in text for row in listed.values())


# anomalib's own readers


def listed_by_anomalib(kind: str, root: Path) -> Any:
    """Anomalib's table of the images of "gear"."""
    import pandas as pd
    from anomalib.data.datasets import image as readers

    if kind == "real_iad":
        import json

        metadata = json.loads((root / "realiad_jsons/gear.json").read_text())
        return readers.realiad.make_realiad_dataset(root / "realiad_1024/gear", metadata=metadata)
    make = {
        "mvtec_ad": readers.mvtecad.make_mvtec_ad_dataset,
        "btad": readers.btech.make_btech_dataset,
        "mpdd": readers.mpdd.make_mpdd_dataset,
        "mvtec_ad_2": readers.mvtecad2.make_mvtec2_dataset,
        "mvtec_loco": readers.mvtec_loco.make_dataset,
        "kolektor_sdd": readers.kolektor.make_kolektor_dataset,
    }[kind]
    # anomalib puts lists of masks into a column of text
    with pd.option_context("future.infer_string", False):
        return make(root if kind == "kolektor_sdd" else root / "gear")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mvtec_ad", "btad", "mpdd", "mvtec_ad_2", "mvtec_loco", "real_iad", "kolektor_sdd"])
def test_anomalib_lists_the_same(kind: str, relaid: dict[str, Path]) -> None:
    """Anomalib's reader of the same miniature: the same images, labels, parts and masks."""
    table = listed_by_anomalib(kind, relaid[kind])
    theirs = {}
    for row in table.to_dict("records"):
        paths = row["mask_path"] or []
        masks = paths if isinstance(paths, list) else [paths]
        kept = tuple(sorted(Path(mask).resolve() for mask in masks)) if row["label_index"] == 1 else ()
        theirs[Path(row["image_path"]).resolve()] = (row["label_index"], row["split"], kept)
    ours = {}
    for sample in load_samples(configure(kind, relaid[kind])):
        if sample.category == "strip":
            continue
        path, masks = sample.source.image_path.resolve(), sample.source.mask_paths
        part = {"validation": "val", None: theirs[path][1]}.get(sample.part, sample.part)  # SDD is not divided
        ours[path] = (sample.label, part, tuple(sorted(mask.resolve() for mask in masks)))
    assert ours == theirs


@pytest.mark.slow
def test_anomalib_lays_visa_out_the_same(relaid: dict[str, Path], tmp_path: Path) -> None:
    """VisA's list, brought into the layout of MVTec AD by anomalib: the same images in the same parts."""
    import csv

    from anomalib.data.datamodules.image import visa as theirs

    root = tmp_path / "visa"
    shutil.copytree(relaid["visa"], root)
    (root / "gear").rename(root / "candle")
    lines = list(csv.reader((root / "split_csv/1cls.csv").open()))
    kept = [[cell.replace("gear", "candle") for cell in line] for line in lines if line[0] in ("object", "gear")]
    with (root / "split_csv/1cls.csv").open("w", newline="") as file:
        csv.writer(file).writerows(kept)
    theirs.Visa(root=root, category="candle").apply_cls1_split()
    expected = {
        (path.read_bytes(), path.parts[-3], path.parts[-2]) for path in (root / "visa_pytorch/candle").glob("t*/*/*")
    }
    samples = load_samples(configure("visa", root))
    assert {(s.source.image_path.read_bytes(), s.part, GOOD if s.label == 0 else "bad") for s in samples} == expected
