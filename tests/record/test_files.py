"""Files that others write and remove at the same time."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from adloc.record.files import files_below

if TYPE_CHECKING:
    from pathlib import Path


def filled(folder: Path) -> Path:
    for name in ("b/2", "b/1", "a/deep/4", "c/5", "0"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return folder


def test_files_come_by_name_with_their_facts(tmp_path: Path) -> None:
    os.mkfifo(filled(tmp_path) / "b/pipe")
    (tmp_path / "b/nowhere").symlink_to(tmp_path / "gone")
    found = list(files_below(tmp_path))
    assert [path.relative_to(tmp_path).as_posix() for path, _ in found] == ["0", "a/deep/4", "b/1", "b/2", "c/5"]
    assert all(facts.st_size == len(path.read_bytes()) for path, facts in found)


def test_what_is_removed_meanwhile_is_passed_over(tmp_path: Path) -> None:
    seen = []
    for path, _ in files_below(filled(tmp_path)):
        seen.append(path.relative_to(tmp_path).as_posix())
        if seen[-1] == "a/deep/4":
            shutil.rmtree(tmp_path / "c")  # listed, not looked into yet
        if seen[-1] == "b/1":
            (tmp_path / "b/2").unlink()
    assert seen == ["0", "a/deep/4", "b/1"]
    assert list(files_below(tmp_path / "c")) == []
