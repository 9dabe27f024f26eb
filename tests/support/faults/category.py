"""A small category of images, to be spoiled: what is done to one of its files before a command looks at it."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import zlib
from contextlib import chdir
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

TRAIN, TESTED, MASK = (
    "gear/train/good/001.png",
    "gear/test/hole/000.png",
    "gear/ground_truth/hole/000_mask.png",
)
HEIGHT, WIDTH = 32, 40


def study_of(root: Path, folder: Path, dataset: str = "kind: mvtec_ad") -> Path:
    """A study file of the category in `root`, written into `folder`."""
    path = folder / "s.yaml"
    lines = ("study: s", f"dataset: {{{dataset}, root: {root}}}", "methods: [{method: floor}]", "image: {size: 32}")
    path.write_text("\n".join(lines) + "\n")
    return path


def png(width: int, height: int, rows: bytes = b"", *, checksum: int = 0) -> bytes:
    """A PNG of 8-bit colours with this size in its head and these rows, whatever they are."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) ^ checksum)
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def remove(path: Path) -> None:
    """Whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def gone(name: str) -> Callable[[Path], None]:
    """Nothing is left there."""
    return lambda root: remove(root / name)


def holds(name: str, content: bytes) -> Callable[[Path], None]:
    """A file of these bytes is there."""

    def spoil(root: Path) -> None:
        remove(root / name)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return spoil


def cut(name: str, share: float) -> Callable[[Path], None]:
    """The file ends early."""

    def spoil(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(len(content) * share)])

    return spoil


def cut_as(name: str, suffix: str, share: float) -> Callable[[Path], None]:
    """The image is of another format, and ends early."""

    def spoil(root: Path) -> None:
        path = (root / name).with_suffix(suffix)
        Image.open(root / name).convert("RGB").save(path)
        remove(root / name)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])

    return spoil


def drawn(name: str, pixels: NDArray[np.generic]) -> Callable[[Path], None]:
    """An image of these pixels is there, beside what is there under another suffix."""

    def spoil(root: Path) -> None:
        remove(root / name)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name)

    return spoil


def linked(name: str, target: str) -> Callable[[Path], None]:
    """A link is there."""

    def spoil(root: Path) -> None:
        remove(root / name)
        (root / name).symlink_to(target)

    return spoil


def folder(name: str) -> Callable[[Path], None]:
    """An empty folder is there."""

    def spoil(root: Path) -> None:
        remove(root / name)
        (root / name).mkdir(parents=True)

    return spoil


def pipe(name: str) -> Callable[[Path], None]:
    """A named pipe is there, which nobody writes to."""

    def spoil(root: Path) -> None:
        remove(root / name)
        os.mkfifo(root / name)

    return spoil


def listens(name: str) -> Callable[[Path], None]:
    """A socket is there."""

    def spoil(root: Path) -> None:
        remove(root / name)
        with chdir((root / name).parent), socket.socket(socket.AF_UNIX) as made:  # its path may have 107 bytes
            made.bind(os.path.basename(name))  # noqa: PTH119

    return spoil


def sparse(name: str, n_bytes: int) -> Callable[[Path], None]:
    """A file of so many bytes that takes no room."""

    def spoil(root: Path) -> None:
        with (root / name).open("wb") as file:
            file.truncate(n_bytes)

    return spoil


def copied(name: str, to: str) -> Callable[[Path], None]:
    """The same file is in two places."""

    def spoil(root: Path) -> None:
        (root / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, root / to)

    return spoil


def named(to: bytes) -> Callable[[Path], None]:
    """One training image more, called by these bytes."""
    return lambda root: Image.new("RGB", (WIDTH, HEIGHT)).save(os.fsencode(root / "gear/train/good") + b"/" + to, "png")


def both(*spoils: Callable[[Path], None]) -> Callable[[Path], None]:
    """One after the other."""

    def spoil(root: Path) -> None:
        for each in spoils:
            each(root)

    return spoil
