"""Which reader takes a folder, and with which keys: a published layout first, else the names of its folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from adloc.datasets.decoding import FORMATS_IN_WORDS
from adloc.datasets.readers.listing import is_hidden, what_is_there
from adloc.errors import Complaint, UserError
from adloc.init.candidate import Candidate
from adloc.init.plain import Layout, plain_layout, says_something
from adloc.init.published import published_candidates
from adloc.init.words import part_of, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from adloc.datasets.sample import Sample
    from adloc.init.look import Folder

MOST_NAMED = 6  # of a long list


@dataclass(frozen=True, slots=True)
class Guess:
    """How a folder is read.

    Attributes:
        what: in words: "the layout of MVTec AD".
        dataset: the keys of `dataset`.
        group: what `split.group` keeps together; None for single images.
        samples: what the reader lists.
        notes: what was taken for granted, or left out.
    """

    what: str
    dataset: dict[str, object]
    group: str | None
    samples: tuple[Sample, ...]
    notes: tuple[str, ...]


def guess(folder: Folder) -> Guess:
    """Return the first way of reading a folder in which its reader finds nothing wrong.

    Raises:
        UserError: no image of a format that is read, none that can be taken as good, or what the reader says of
            the last way that was tried.
    """
    if not folder.n_images:
        raise UserError(_no_images(folder))
    problem = None
    for candidate in (*published_candidates(folder.path), *_plain_candidates(folder)):
        listing = candidate.listing()
        if listing.samples and not listing.errors:
            return Guess(candidate.what, candidate.dataset, candidate.group, tuple(listing.samples), candidate.notes)
        problem = listing.errors[0] if listing.errors else problem
    if problem is not None:
        raise UserError(Complaint(problem.found, problem.rule, problem.remedy))
    seen = ", ".join(f"{each.path.name}/ ({each.n_images})" for each in folder.folders[:MOST_NAMED])
    raise UserError(
        Complaint(
            f"{folder.path}: {folder.n_images} images, and none is known to be good: {seen}",
            "a study fits on images of good parts; it finds them by the name of their folder: good, ok, normal, train",
            "call the folder of the good images good, or write the study file by hand with dataset: {kind: folder}",
        )
    )


def _no_images(folder: Folder) -> Complaint:
    n_files = sum(1 for path in folder.path.rglob("*") if path.is_file() and not is_hidden(path))
    return Complaint(
        f"{folder.path}: no images" + (f", but {n_files} other files{what_is_there(folder.path)}" if n_files else ""),
        f"images are {FORMATS_IN_WORDS}",
        "convert them, for example to png" if n_files else "put images of good parts there, best in a folder good",
    )


def _plain_candidates(folder: Folder) -> Iterator[Candidate]:
    """The ways in which a folder that nobody published may be meant."""
    while not folder.images and len(folder.folders) == 1 and not _speaks(folder.folders[0]):
        folder = folder.folders[0]
    if folder.images or any(_speaks(below) for below in folder.folders):
        layout = plain_layout(folder)
        if layout is not None:
            yield Candidate("plain folders", _keys(folder) | layout.keys(), layout.notes)
        return
    telling = [below for below in folder.folders if says_something(below)]
    layouts = {below.path.name: plain_layout(below) for below in telling or folder.folders}
    usable = {name: layout for name, layout in layouts.items() if layout is not None}
    notes = [
        f"{below.path.name}: {below.n_images} images left out, for nothing in it is known to be good"
        for below in folder.folders
        if below.path.name not in usable
    ]
    if not telling:
        notes.append(
            f"{', '.join(usable)}: taken as categories of good images each, for no name says otherwise; if some of"
            " them are defects, give normal and anomalous as [FOLDER/*] instead of categories"
        )
    yield from _of_categories(folder, usable, notes, telling=bool(telling))


def _of_categories(
    folder: Folder, layouts: Mapping[str, Layout], notes: list[str], *, telling: bool
) -> Iterator[Candidate]:
    """All categories by the globs of all of them; else those that are laid out alike, the most images first."""
    if not layouts:
        return
    own = [f"{name}: {note}" for name, layout in layouts.items() for note in layout.notes] if telling else []
    if len(layouts) == 1:
        name, layout = next(iter(layouts.items()))
        yield Candidate("plain folders", _keys(folder, [name]) | layout.keys(), (*notes, *own))
        return
    yield Candidate("plain folders", _keys(folder, list(layouts)) | _joined(layouts.values()), (*notes, *own))
    alike: dict[str, list[str]] = {}
    for name, layout in layouts.items():
        alike.setdefault(str(layout.keys()), []).append(name)
    for names in sorted(alike.values(), key=len, reverse=True):
        left = [name for name in layouts if name not in names]
        more = [f"{', '.join(left)}: left out, for they are laid out in another way; give them a study of their own"]
        yield Candidate("plain folders", _keys(folder, names) | layouts[names[0]].keys(), (*notes, *own, *more))


def _keys(folder: Folder, categories: list[str] | None = None) -> dict[str, object]:
    named = {} if categories is None else {"categories": categories}
    return {"kind": "folder", "root": str(folder.path), **named}


def _joined(layouts: Iterable[Layout]) -> dict[str, object]:
    """The globs of all layouts, each once; the first folder of masks."""
    found = list(layouts)
    return Layout(
        tuple(dict.fromkeys(glob for layout in found for glob in layout.normal)),
        tuple(dict.fromkeys(glob for layout in found for glob in layout.test_normal)),
        tuple(dict.fromkeys(glob for layout in found for glob in layout.anomalous)),
        next((layout.masks for layout in found if layout.masks is not None), None),
        (),
    ).keys()


def _speaks(folder: Folder) -> bool:
    """Whether the folder's own name says what its images are."""
    return bool(role_of(folder.path.name) or part_of(folder.path.name))
