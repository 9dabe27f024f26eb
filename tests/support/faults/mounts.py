"""Folders that cannot be written and disks that are full, by means of the kernel.

Linux alone; a disk of its own takes the right to mount, which root has on most machines and in few containers.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The process gives up the rights by which root writes whatever it likes: it is bound by the modes of files, as all are.
WITHOUT_RIGHTS = """
import ctypes
version_3, itself = 0x20080522, 0
if ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(version_3, itself), (ctypes.c_uint32 * 6)()):
    raise OSError("capset")
"""


@contextmanager
def modes_of_read_only(folder: Path) -> Iterator[str]:
    """Nobody has leave to write in the folder; what a process runs first so that this binds root too."""
    subprocess.run(["chmod", "-R", "a-w", folder], check=True)
    try:
        yield WITHOUT_RIGHTS
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)


@contextmanager
def mounted_read_only(folder: Path) -> Iterator[str]:
    """The folder's file system is read-only, as that of a snapshot or a CD is; what a process runs first: nothing.

    Raises:
        PermissionError: this process may not mount.
    """
    _mount(["--bind", folder, folder])
    try:
        _mount(["-o", "remount,bind,ro", folder])
        yield ""
    finally:
        _unmount(folder)


@contextmanager
def disk(folder: Path, n_bytes: int) -> Iterator[Path]:
    """A disk of this size, in memory, mounted at the folder, which is made.

    Raises:
        PermissionError: this process may not mount.
    """
    folder.mkdir()
    _mount(["-t", "tmpfs", "-o", f"size={n_bytes}", "disk", folder])
    try:
        yield folder
    finally:
        _unmount(folder)


def enlarge(folder: Path, n_bytes: int) -> None:
    """Give a disk room."""
    _mount(["-o", f"remount,size={n_bytes}", folder])


def _mount(arguments: list[object]) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", folder], check=True)  # a process that was killed may still hold a file
