"""Miniatures of published layouts: the images of a category of the MVTec AD layout, laid out anew."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Original:
    """One image of the MVTec AD layout: "train" or "test", "good" or the defect type, its file, its mask's file."""

    origin: str
    defect: str
    image: Path
    mask: Path | None

    @property
    def name(self) -> str:
        """A name without suffix that no other image of the category has."""
        return f"{self.origin}{self.defect}{self.image.stem}"


def originals(category: Path) -> Iterator[Original]:
    """Every image of a category of the MVTec AD layout."""
    for image in sorted([*category.glob("train/*/*.png"), *category.glob("test/*/*.png")]):
        origin, defect = image.parts[-3:-1]
        mask = None if defect == "good" else category / "ground_truth" / defect / f"{image.stem}_mask.png"
        yield Original(origin, defect, image, mask)


def place(source: Path, target: Path) -> Path:
    """Copy a file, with the folders above it; the bytes stay, whatever the new suffix says."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    return target


def mvtec_ad(category: Path, root: Path) -> None:
    """root/<category>/train/good, test/<defect>, ground_truth/<defect>/<stem>_mask.png."""
    shutil.copytree(category, root / category.name)


def btad(category: Path, root: Path) -> None:
    """root/<category>/train/ok, test/ok, test/ko, ground_truth/ko/<stem>.png."""
    folder = root / category.name
    for o in originals(category):
        place(o.image, folder / o.origin / ("ko" if o.mask else "ok") / f"{o.name}.png")
        if o.mask:
            place(o.mask, folder / "ground_truth/ko" / f"{o.name}.png")


def mvtec_ad_2(category: Path, root: Path) -> None:
    """root/<category>/train/good, validation/good, test_public/{good,bad,ground_truth/bad}; two lights by turns."""
    folder = root / category.name
    for number, o in enumerate(originals(category)):
        if o.origin == "train":
            part = "validation" if number % 4 == 0 else "train"
            place(o.image, folder / part / "good" / f"{number:03}_regular.png")
            continue
        name = f"{number:03}_{('regular', 'shift_1')[number % 2]}"
        place(o.image, folder / "test_public" / ("bad" if o.mask else "good") / f"{name}.png")
        if o.mask:
            place(o.mask, folder / "test_public/ground_truth/bad" / f"{name}_mask.png")
    place(o.image, folder / "test_private" / "000_regular.png")  # in no split
    place(o.image, folder / "test_private_mixed" / "000_mixed.png")


def mvtec_loco(category: Path, root: Path) -> None:
    """root/<category>/train, validation, test/<type>, ground_truth/<type>/<stem>/000.png; "hole" has two masks."""
    folder = root / category.name
    kinds = {"glare": "logical_anomalies", "hole": "structural_anomalies"}
    for number, o in enumerate(originals(category)):
        if o.origin == "train":
            part = "validation" if number % 4 == 0 else "train"
            place(o.image, folder / part / "good" / f"{number:03}.png")
        elif not o.mask:
            place(o.image, folder / "test/good" / f"{number:03}.png")
        else:
            place(o.image, folder / "test" / kinds[o.defect] / f"{number:03}.png")
            masks = folder / "ground_truth" / kinds[o.defect] / f"{number:03}"
            if o.defect == "glare":
                place(o.mask, masks / "000.png")
            else:
                _halve(o.mask, masks)
    (folder / "defects_config.json").write_text(json.dumps(LOCO_KINDS))


LOCO_KINDS: list[dict[str, object]] = [
    {"defect_name": "glare", "pixel_value": 255, "saturation_threshold": 20, "relative_saturation": False},
    {"defect_name": "left", "pixel_value": 200, "saturation_threshold": 0.5, "relative_saturation": True},
    {"defect_name": "right", "pixel_value": 201, "saturation_threshold": 1.0, "relative_saturation": True},
]


def _halve(mask: Path, folder: Path) -> None:
    """The left and the right half of what a mask marks, each in a file of its own, with the values 200 and 201."""
    folder.mkdir(parents=True)
    with Image.open(mask) as image:
        width, height = image.size
        left, _, right, _ = image.getbbox() or (0, 0, width, height)
        middle = (left + right) // 2
        for i, box in enumerate([(0, 0, middle, height), (middle, 0, width, height)]):
            half = Image.new("L", image.size)
            half.paste(image.crop(box).point(lambda v, value=200 + i: value if v else 0), box[:2])
            half.save(folder / f"{i:03}.png")


def visa(category: Path, root: Path) -> None:
    """root/split_csv/1cls.csv lists root/<category>/Data/Images/{Normal,Anomaly}/<name>.JPG and their masks."""
    rows = []
    for o in originals(category):
        kind = "Anomaly" if o.mask else "Normal"
        image = place(o.image, root / category.name / "Data/Images" / kind / f"{o.name}.JPG")
        mask = place(o.mask, root / category.name / "Data/Masks/Anomaly" / f"{o.name}.png") if o.mask else None
        label = "anomaly" if o.mask else "normal"
        paths = [path.relative_to(root).as_posix() if path else "" for path in (image, mask)]
        rows.append([category.name, o.origin, label, *paths])
    path = root / "split_csv/1cls.csv"
    path.parent.mkdir(exist_ok=True)
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        csv.writer(file).writerows([["object", "split", "label", "image", "mask"]] * is_new + rows)


def real_iad(category: Path, root: Path) -> None:
    """root/realiad_jsons/<category>.json lists root/realiad_1024/<category>/{OK,NG/<defect>}/S0001/<name>.png."""
    lists: dict[str, list[dict[str, str | None]]] = {"train": [], "test": []}
    folder = root / "realiad_1024" / category.name
    for number, o in enumerate(originals(category)):
        part = f"S{number // 2:04}"
        name = f"NG/{o.defect}/{part}/{o.name}" if o.mask else f"OK/{part}/{o.name}"
        place(o.image, folder / f"{name}.jpg")
        if o.mask:
            place(o.mask, folder / f"{name}.png")
        kind = o.defect if o.mask else "OK"
        lists[o.origin].append(
            {"anomaly_class": kind, "image_path": f"{name}.jpg", "mask_path": f"{name}.png" if o.mask else None}
        )
    path = root / "realiad_jsons" / f"{category.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"meta": {"prefix": category.name}, **lists}))


def kolektor_sdd(category: Path, root: Path) -> None:
    """root/kos01/Part0.jpg with Part0_label.bmp beside it, three parts an item."""
    for number, o in enumerate(originals(category)):
        folder = root / f"kos{number // 3:02}"
        place(o.image, folder / f"Part{number % 3}.jpg")
        _save_mask(o, folder / f"Part{number % 3}_label.bmp")


def kolektor_sdd2(category: Path, root: Path) -> None:
    """root/{train,test}/10000.png with 10000_GT.png beside it; every third image that is a "hole" is in train."""
    for number, o in enumerate(originals(category), start=10_000):
        part = "train" if o.defect == "hole" and number % 3 == 0 else o.origin
        place(o.image, root / part / f"{number}.png")
        _save_mask(o, root / part / f"{number}_GT.png")


def _save_mask(original: Original, path: Path) -> None:
    with Image.open(original.mask or original.image) as image:
        (image.convert("L") if original.mask else Image.new("L", image.size)).save(path)


def aebad_s(category: Path, root: Path) -> None:
    """root/train/good/<domain>, root/test/<kind>/<domain>, root/ground_truth/<defect>/<domain>; domains by turns."""
    for number, o in enumerate(originals(category)):
        domain = ("background", "illumination", "view", "same")[number % (3 if o.origin == "train" else 4)]
        place(o.image, root / o.origin / o.defect / domain / f"{number:03}.png")
        if o.mask:
            place(o.mask, root / "ground_truth" / o.defect / domain / f"{number:03}.png")


def folder(category: Path, root: Path) -> None:
    """root/<category>/{fine,fine_test}/<name>.png, broken/<defect>/<name>.png, masks/<defect>/<name>.png."""
    for o in originals(category):
        if not o.mask:
            place(o.image, root / category.name / ("fine" if o.origin == "train" else "fine_test") / f"{o.name}.png")
        else:
            place(o.image, root / category.name / "broken" / o.defect / f"{o.name}.png")
            place(o.mask, root / category.name / "masks" / o.defect / f"{o.name}.png")


def table(category: Path, root: Path) -> None:
    """root/images.csv names the images of a copy of the MVTec AD layout."""
    columns = ["path", "label", "category", "defect", "part", "mask"]
    path = root / "images.csv"
    rows = []
    for o in originals(category):
        image = place(o.image, root / category.name / f"{o.name}.png")
        mask = place(o.mask, root / category.name / f"{o.name}_mask.png") if o.mask else None
        paths = [p.relative_to(root).as_posix() if p else "" for p in (image, mask)]
        defect = o.defect if o.mask else ""
        rows.append([paths[0], "1" if o.mask else "0", category.name, defect, o.origin, paths[1]])
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        csv.writer(file).writerows([columns] * is_new + rows)


@dataclass(frozen=True)
class Layout:
    """How a layout is written and asked for.

    Attributes:
        write: lays a category out below a root.
        config: keys of the dataset's configuration beside kind and root.
        n_categories: that it holds beside one another: several, or one.
        divided: whether it says which normal images are for the test.
    """

    write: Callable[[Path, Path], None]
    config: dict[str, object]
    several: bool = True
    divided: bool = True


FOLDER: dict[str, object] = {
    "categories": "all",
    "normal": ["fine/*"],
    "test_normal": ["fine_test"],
    "anomalous": ["broken/*"],
    "masks": "masks",
}
LAYOUTS: dict[str, Layout] = {
    "mvtec_ad": Layout(mvtec_ad, {}),
    "mpdd": Layout(mvtec_ad, {}),
    "btad": Layout(btad, {}),
    "mvtec_ad_2": Layout(mvtec_ad_2, {}),
    "mvtec_loco": Layout(mvtec_loco, {}),
    "visa": Layout(visa, {}),
    "real_iad": Layout(real_iad, {}),
    "kolektor_sdd": Layout(kolektor_sdd, {}, several=False, divided=False),
    "kolektor_sdd2": Layout(kolektor_sdd2, {}, several=False),
    "aebad_s": Layout(aebad_s, {}, several=False),
    "folder": Layout(folder, FOLDER),
    "table": Layout(table, {}),
}
