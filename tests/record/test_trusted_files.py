"""What a study's folder holds and is read again from is held to a checksum, whichever file it is."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from adloc.answer.answer import kept_answer
from adloc.answer.claim import Claim, read_claims, write_claims
from adloc.datasets.checked import DamagedError, from_checked
from adloc.errors import UserError
from adloc.kept.study import read_study
from adloc.record.beside import read_beside, write_beside
from adloc.record.records import Records
from adloc.report.sections.tuning import importances_of
from adloc.sealing.seal import read_seal
from adloc.study_file.validation import load_study
from adloc.tracking.track import kept_report
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adloc.study_file.spec import StudySpec


def flips(content: bytes, n_some: int = 40) -> Iterator[bytes]:
    """The content with one of its bits flipped, at places all over it."""
    for place in range(0, len(content), max(1, len(content) // n_some)):
        yield content[:place] + bytes([content[place] ^ 1 << place % 8]) + content[place + 1 :]


def test_checksum_beside_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """Every flipped bit of either is found; a file of an earlier version, without one, is read as it is."""
    path = tmp_path / "results.json"
    write_beside(path, '[{"name": "Löt"}]')
    beside = tmp_path / "results.json.crc32"
    content, checksum = path.read_bytes(), beside.read_bytes()
    assert read_beside(path) == content
    for flipped in flips(content):
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            read_beside(path)
    path.write_bytes(content)
    for flipped in flips(checksum):
        beside.write_bytes(flipped)
        with pytest.raises(DamagedError):
            read_beside(path)
    beside.unlink()
    assert read_beside(path) == content
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_beside(path)


def test_damaged_claims_are_none(tmp_path: Path) -> None:
    """A sentence with another figure in it is not printed; others read a plain list."""
    write_claims((Claim("use", ("padim",), "Use padim: 0.91."),), tmp_path)
    path = tmp_path / "claims.json"
    content = path.read_bytes()
    assert json.loads(content)[0]["text"] == read_claims(tmp_path)[0].text
    path.write_bytes(content.replace(b"0.91", b"0.97"))
    assert read_claims(tmp_path) == ()


@pytest.fixture(scope="module")
def finished(spread_tuned_local: Path) -> Path:
    """The folder of a study that has tuned, run, and written its report; to read only."""
    return spread_tuned_local / "studies" / "spread"


def is_checked(path: Path) -> bool:
    """Whether the file has a checksum in it, or beside it."""
    content = path.read_bytes()
    return from_checked(content) != content or path.with_name(f"{path.name}.crc32").exists()


@pytest.mark.slow
def test_every_json_file_of_a_finished_study_has_a_checksum(finished: Path) -> None:
    """In the study's folder and the store, and study.yaml; those of a record are in the record's own list."""
    records = Records(finished)
    listed = {records.path(r.run_id) / name for r in records.all() for name in r.files}
    found = [*finished.rglob("*.json"), *(finished.parent.parent / "store").rglob("*.json"), finished / "study.yaml"]
    found += finished.parent.parent.glob("*.json")
    names = {path.name for path in found}
    assert {"claims.json", "results.json", "report.json", "best.json", "seal.json", "rates.json"} <= names
    assert {path.name for path in found if path not in listed and not is_checked(path)} == set()
    for line in (finished.parent.parent / "sealed" / "ledger.jsonl").read_bytes().splitlines():
        assert from_checked(line) != line


@cache
def spec_of(folder: Path) -> StudySpec:
    """The study."""
    return load_study(folder / "study.yaml")[1]


def answer(folder: Path) -> object:
    """The tables."""
    return kept_answer(spec_of(folder), Records(folder), folder)


def seal(folder: Path) -> object:
    """The seal; one that is damaged is refused."""
    try:
        return read_seal(folder / "seal.json")
    except UserError:
        return None


READ: dict[str, Callable[[Path], object]] = {
    "claims.json": lambda folder: read_claims(folder) or None,
    "results.json": answer,
    "report.json": lambda folder: kept_report(folder) or None,
    "tuning/patchcore/best.json": lambda folder: importances_of("patchcore", folder) or None,
    "seal.json": seal,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READ)
def test_damaged_file_of_a_study_is_as_good_as_none(name: str, finished: Path, tmp_path: Path) -> None:
    """Whichever bit it is; without its checksum, as an earlier version wrote it, it is read."""
    folder = Path(shutil.copytree(finished, tmp_path / "studies" / "spread", ignore=shutil.ignore_patterns("records")))
    (folder / "records").mkdir()
    path, read = folder / name, READ[name]
    content, found = path.read_bytes(), read(folder)
    assert found is not None
    for flipped in flips(content):
        path.write_bytes(flipped)
        assert read(folder) is None
    for damaged in (content[: len(content) // 2], bytes(len(content)), b""):
        path.write_bytes(damaged)
        assert read(folder) is None
    path.with_name(f"{path.name}.crc32").unlink(missing_ok=True)
    path.write_bytes(from_checked(content))
    assert read(folder) == found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["study.yaml", "results.json", "plan.json"])
def test_a_study_of_that_name_that_is_damaged_is_refused(name: str, finished: Path, tmp_path: Path) -> None:
    """Its figures are not shown: they are made again by the next run."""
    shutil.copytree(finished, tmp_path / "studies" / "spread")
    workspace = Workspace(tmp_path)
    assert len(read_study("spread", workspace).answer.rows) > 0
    path = workspace.study_path("spread") / name
    path.write_bytes(next(flips(path.read_bytes()[::-1]))[::-1])  # its last byte
    with pytest.raises(UserError, match="no results yet, or a file is damaged"):
        read_study("spread", workspace)
