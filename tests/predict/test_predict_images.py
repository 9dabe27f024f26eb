"""Which images `adloc predict` is asked for: listed in order, streamed from standard input, each with its place."""

from __future__ import annotations

import io
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest

from adloc.errors import UserError
from adloc.predict.images import find_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adloc.predict.images import Asking


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the process: photos in two folders, and what is none."""
    for name in (
        "a/10.png", "a/9.PNG", "a/deep/1.jpg", "a/notes.txt", "a/.hidden.png", "a/.cache/x.png", "b/1.tiff",
        "odd[1].png",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "empty.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*arguments: str, stdin: bytes = b"") -> Asking:
    return find_images(arguments, io.BytesIO(stdin))


def paths(asking: Asking) -> list[str]:
    return [asked.path for asked in asking.images]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], ["a/9.PNG", "a/10.png", "a/deep/1.jpg"]),  # numbers by value, folders after files, hidden left out
        (["b/1.tiff", "a/10.png"], ["b/1.tiff", "a/10.png"]),  # as given
        (["a/*"], ["a/9.PNG", "a/10.png"]),  # a pattern takes files
        (["**/1.*"], ["a/deep/1.jpg", "b/1.tiff"]),
        (["odd[1].png"], ["odd[1].png"]),  # a file of that very name is no pattern
        (["b", "b/1.tiff"], ["b/1.tiff", "b/1.tiff"]),  # what is asked for twice is scored twice
        (["gone.png", "b"], ["gone.png", "b/1.tiff"]),  # whether it is there is seen when it is read
    ],
)
@pytest.mark.usefixtures("photos")
def test_images_are_listed_in_the_order_given(arguments: Sequence[str], expected: list[str]) -> None:
    """Files, folders with all below them, and patterns; only of formats that are read."""
    found = ask(*arguments)
    assert paths(found) == expected
    assert found.total == len(expected)


@pytest.mark.usefixtures("photos")
def test_an_argument_without_an_image_is_a_row() -> None:
    """An empty folder (even one with an image's name) or pattern beside others keeps nothing from being scored."""
    found = list(ask("empty.png", "b", "none*.png").images)
    assert [asked.path for asked in found] == ["empty.png", "b/1.tiff", "none*.png"]
    assert [asked.problem is None for asked in found] == [False, True, False]


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "x" * 300 + "*.png"])
@pytest.mark.usefixtures("photos")
def test_a_name_that_no_file_can_have_is_a_row(name: str) -> None:
    """The system refuses to look at it (as at a name in a folder that may not be entered): the others are scored."""
    assert [each for each in paths(ask("a/10.png", name)) if each != name] == ["a/10.png"]


@pytest.mark.parametrize("arguments", [[], ["empty.png"], ["none*.png"], ["-", "-"], ["a/10.png", "s3://b/x.png"]])
@pytest.mark.usefixtures("photos")
def test_nothing_to_score_is_a_mistake(arguments: list[str]) -> None:
    """Without any image there is nothing to do, and what is behind a URL is not read."""
    with pytest.raises(UserError):
        ask(*arguments)


@pytest.mark.usefixtures("photos")
def test_lines_of_standard_input_are_paths() -> None:
    """Empty lines are left out, the last needs no end, Windows' ends are taken off, and the place in order is kept."""
    lines = "b/1.tiff\n\n/abs/ü ö.png\r\na/10.png".encode()
    found = ask("odd[1].png", "-", "a/9.PNG", stdin=lines)
    assert found.total is None
    assert paths(found) == ["odd[1].png", "b/1.tiff", "/abs/ü ö.png", "a/10.png", "a/9.PNG"]


@pytest.mark.usefixtures("photos")
def test_bytes_that_are_no_list_of_paths() -> None:
    """A NUL byte is a row; a line that never ends is refused before it fills the memory; odd bytes have a name."""
    first, second = ask("-", stdin=b"a\0b\n\xff.png\n").images
    assert first.problem is not None
    assert os.fsencode(second.path) == b"\xff.png"
    assert second.shown == "\\xff.png"
    with pytest.raises(UserError, match="a line of over"):
        list(ask("-", stdin=b"x" * 200_000).images)


def test_a_path_is_handed_on_before_the_next_is_there(photos: Path) -> None:
    """Whoever writes a path and waits for its row gets it."""
    read_end, write_end = os.pipe()
    with open(read_end, "rb") as stdin, open(write_end, "wb", buffering=0) as writer:  # noqa: PTH123  descriptors
        images = iter(find_images(["-"], stdin).images)
        writer.write(f"{photos}/b/1.tiff\n".encode())
        assert next(images).path == f"{photos}/b/1.tiff"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a"], ["9.PNG", "10.png", "deep/1.jpg"]),  # below the folder given
        (["a/deep", "b"], ["a/deep/1.jpg", "b/1.tiff"]),  # of several, below what they have in common
        (["b/1.tiff"], ["1.tiff"]),
        (["b/*"], ["1.tiff"]),
        (["-"], ["a/10.png", "elsewhere.png"]),  # of a list, below the folder of the process
    ],
)
@pytest.mark.usefixtures("photos")
def test_places_mirror_the_folders(arguments: list[str], expected: list[str]) -> None:
    """Where what is drawn of an image goes."""
    found = ask(*arguments, stdin=b"a/10.png\n/nowhere/elsewhere.png\n")
    assert [asked.place for asked in found.images] == [PurePath(name) for name in expected]
