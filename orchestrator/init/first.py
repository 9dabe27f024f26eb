"""The door: a folder in, a first study file out."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adloc.datasets.fetched import as_url
from adloc.datasets.file_image import FileImage
from adloc.datasets.split import SplitConfig
from adloc.errors import Complaint, UserError
from adloc.init.file import answers, counted, study_text
from adloc.init.guess import guess
from adloc.init.look import MOST_OPENED, look, sizes_of
from adloc.init.settings import parts_of, settings_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.datasets.sample import Sample
    from adloc.init.look import Sizes

_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class FirstStudy:
    """A study file that is not written yet.

    Attributes:
        name: of the study, which a file name can be made of.
        text: of the file.
        seen: what was found, in words, a line each.
        notes: what was taken for granted, or left out.
    """

    name: str
    text: str
    seen: tuple[str, ...]
    notes: tuple[str, ...]


def free_place(found: FirstStudy, output: Path | None, *, force: bool) -> Path:
    """Where the file goes: `output`, else the study's name with .yaml, here.

    Raises:
        UserError: a file is there, and not to be written over.
    """
    path = output or Path(f"{found.name}.yaml")
    if path.exists() and not force:
        raise UserError(
            Complaint(f"{path}: exists", "a file that is there is not written over", "use --force, or --output FILE")
        )
    return path


def first_study(path: Path) -> FirstStudy:
    """Return a study file for the images of a folder: two methods on the embedded backbone, ready to run.

    Names are listed, and the heads of at most 200 images read: seconds for 100,000 images.

    Raises:
        UserError: no such folder, a URL, no images, none that can be taken as good, or too few.
    """
    if not path.is_dir():
        if url := as_url(path):
            remedy = f"copy some of its images to a folder, and write root: {url} into the file that they give"
            raise UserError(Complaint(f"{url}: a URL", "what lies where is guessed from files on a disk", remedy))
        what = "not a folder" if path.exists() else "no such folder"
        raise UserError(Complaint(f"{path}: {what}", "it must be a folder of images", "check the path"))
    folder = look(path.resolve())
    found = guess(folder)
    parts = parts_of(found.samples, SplitConfig(group=found.group))
    sizes = _sizes(found.samples)
    settings = settings_for(parts, sizes)
    name = study_name(folder.path.name)
    text = study_text(name, found, parts, settings, sizes)
    seen = (f"{folder.path}: {found.what}", *counted(parts), *answers(found.samples, settings))
    return FirstStudy(name, text, seen, found.notes)


def _sizes(samples: Sequence[Sample]) -> dict[str, Sizes]:
    paths: dict[str, list[Path]] = {}
    for sample in samples:
        if isinstance(sample.source, FileImage):
            paths.setdefault(sample.category, []).append(sample.source.image_path)
    sizes = {category: sizes_of(own, max(1, MOST_OPENED // len(paths))) for category, own in paths.items()}
    return {category: each for category, each in sizes.items() if each is not None}


def study_name(folder: str) -> str:
    """Return a name of letters, digits, _ and - for a study of this folder.

    >>> study_name("Bürsten (neu)"), study_name("部品")
    ('Bursten_neu', 'images')
    """
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", plain)[:_LONGEST_NAME].strip("_-") or "images"
