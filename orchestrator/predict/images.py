"""Which images are asked for: files, folders, patterns, and a list on standard input, in the order given."""

from __future__ import annotations

import os
from dataclasses import dataclass
from glob import glob, has_magic
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from adloc.datasets.decoding import FORMATS_IN_WORDS, IMAGE_SUFFIXES
from adloc.datasets.natural_order import natural_key
from adloc.datasets.objects import is_url
from adloc.errors import Complaint, UserError
from adloc.predict.places import is_folder, is_there

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

STDIN = "-"
_LONGEST_LINE = 1 << 16  # bytes; more is no list of paths
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Asked:
    """An image to be scored.

    Attributes:
        path: as it was given, or found below the folder that was.
        place: where what is drawn of it goes, below a folder of its own: the same folders and name.
        problem: why it cannot be read, where that is known before; None where it is not.
    """

    path: str
    place: PurePath
    problem: str | None = None

    @property
    def shown(self) -> str:
        """The path as text; bytes of a name that are not UTF-8 by their numbers."""
        return _as_text(self.path)

    @property
    def name(self) -> str:
        """The place as text: the path without the folders that all images have in common."""
        return _as_text(self.place.as_posix())


@dataclass(frozen=True, slots=True)
class Asking:
    """All images of a call.

    Attributes:
        images: in the order given; may be read once.
        total: how many; None where a list on standard input is still to come.
        roots: the folders that they are in: those given, and those of the files given.
        searched: those of them that are searched through.
    """

    images: Iterable[Asked]
    total: int | None
    roots: tuple[Path, ...]
    searched: tuple[Path, ...]


def find_images(arguments: Sequence[str], stdin: BinaryIO) -> Asking:
    """List what the arguments name.

    Args:
        arguments: files; folders, which are searched through; patterns such as "parts/**/*.png"; at most one "-" for a
            path a line on `stdin`.
        stdin: read as the images are.

    Raises:
        UserError: nothing is named, "-" stands twice, a URL is named, or folders and patterns hold no image at all.
    """
    if not arguments or arguments.count(STDIN) > 1:
        found = "no image is named" if not arguments else "- stands twice"
        rule = "images are files, folders, quoted patterns, or one - for a list on standard input"
        raise UserError(Complaint(found, rule, 'adloc predict MODEL photos/, or adloc predict MODEL "photos/*.png"'))
    for url in filter(is_url, arguments):
        if not is_there(Path(url)):
            raise UserError(
                Complaint(f"{url}: a URL", "images are read from this machine's disks", "copy them to a folder first")
            )
    roots = [_root(argument) for argument in arguments]
    common = _common(roots)
    searched = tuple(Path(each) for each in arguments if is_folder(Path(each)))
    if STDIN not in arguments:
        images = [asked for argument in arguments for asked in _expand(argument, common)]
        _refuse_nothing(arguments, images)
        return Asking(images, len(images), tuple(roots), searched)
    parts = (from_lines(stdin, common) if each == STDIN else _expand(each, common) for each in arguments)
    return Asking(chain.from_iterable(parts), None, tuple(roots), searched)


def below(folder: Path) -> Iterator[str]:
    """Paths of the image files in a folder and its folders, in natural order; hidden ones are left out.

    Raises:
        OSError: a folder cannot be read.
    """
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_key)
        for name in sorted(names, key=natural_key):
            if _is_image(name):
                yield os.path.join(parent, name)  # noqa: PTH118  as it was given, without a ./ lost


def from_lines(stream: BinaryIO, common: Path) -> Iterator[Asked]:
    """A path a line, each as soon as it is there; empty lines are left out.

    Raises:
        UserError: a line is too long for a path.
    """
    # unbuffered: a thread that waits in a buffered stream would keep its lock, and the program from ending
    source = getattr(stream, "raw", stream)
    rest = b""
    while chunk := source.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (_line(line, common) for line in lines if line.strip())
        if len(rest) > _LONGEST_LINE:
            found = f"standard input: a line of over {_LONGEST_LINE} bytes"
            raise UserError(Complaint(found, "it must hold a path a line", "list files, not their content"))
    if rest.strip():
        yield _line(rest, common)


def place_of(path: str, common: Path) -> PurePath:
    """The path below `common`; of one that is elsewhere its name alone."""
    whole = PurePath(os.path.abspath(path))  # noqa: PTH100  of the name as it is, links not followed
    return whole.relative_to(common) if whole.is_relative_to(common) else PurePath(whole.name)


def _expand(argument: str, common: Path) -> Iterator[Asked]:
    path = Path(argument)
    if is_folder(path):
        yield from _of_folder(argument, common)
    elif has_magic(argument) and not is_there(path):
        matches = sorted(glob(argument, recursive=True), key=natural_key)  # noqa: PTH207  absolute patterns too
        images = [match for match in matches if not is_folder(Path(match)) and _is_image(Path(match).name)]
        yield from (Asked(each, place_of(each, common)) for each in images)
        if not images:
            yield _nothing(argument, "no image matches", common)
    else:
        yield Asked(argument, place_of(argument, common))


def _of_folder(argument: str, common: Path) -> Iterator[Asked]:
    n_found = 0
    try:
        for each in below(Path(argument)):
            n_found += 1
            yield Asked(each, place_of(each, common))
    except OSError as error:
        path = argument if error.filename is None else os.fsdecode(error.filename)
        yield _nothing(path, f"cannot be read ({error.strerror})", common)
    else:
        if not n_found:
            yield _nothing(argument, f"no {FORMATS_IN_WORDS} file in it", common)


def _nothing(path: str, why: str, common: Path) -> Asked:
    return Asked(path, place_of(path, common), why)


def _refuse_nothing(arguments: Sequence[str], images: Sequence[Asked]) -> None:
    if any(asked.problem is None for asked in images):
        return
    found = "; ".join(f"{asked.shown}: {asked.problem}" for asked in images)
    rule = f"an image is a {FORMATS_IN_WORDS} file, and folders are searched through"
    raise UserError(Complaint(found, rule, f"check the spelling of {', '.join(arguments)}"))


def _line(line: bytes, common: Path) -> Asked:
    path = os.fsdecode(line.removesuffix(b"\r"))
    if "\0" in path:
        shown = path.partition("\0")[0]
        return Asked(shown, place_of(shown, common), "a NUL byte follows: list a path a line")
    return Asked(path, place_of(path, common))


def _root(argument: str) -> Path:
    """The folder that an argument's images are in, absolute."""
    if argument == STDIN:
        return Path.cwd()
    path = Path(os.path.abspath(argument))  # noqa: PTH100  links not followed
    if is_folder(path):
        return path
    while has_magic(str(path)) and not is_there(path):
        path = path.parent
    return path if is_folder(path) else path.parent


def _common(roots: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(roots))
    except ValueError:  # on several drives
        return Path.cwd()


def _as_text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _raise(error: OSError) -> None:
    raise error
