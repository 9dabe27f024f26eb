"""The records of a study's runs: the truth, from which MLflow and the results table can be made again.

A run's record is a folder, `records/<run_id>/`: record.json, images.csv (a score for every image), curves.json,
pixels.npz (what intervals of pixel metrics are made of), epochs.json (how scores changed while the model was trained),
manifest.csv (which image was in which part), audit.json (which images each stage has read) and heatmaps/. It is
written aside and renamed, so it is whole or absent. A record that is replaced, because data or code changed, moves to
`superseded/`; nothing is deleted.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from glob import escape
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from adloc.datasets.checked import DamagedError, add_checksum, crc32_of, from_checked
from adloc.record.diagnosed import PlainComparison
from adloc.record.files import draft_path, empty_draft, read_checked, sync_files
from adloc.record.verified import Verified, state_of
from adloc.study_file.regimes import CLEAN, SHIFT, evaluated_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RECORDED, EXPLAINED = "records", "explained"  # folders of a study's: a record each run, an explanation each lead
HEATMAPS = "heatmaps"  # folder of a record's pictures


class MaskFacts(BaseModel):
    """What of a test part's masks pixel metrics are over, and what is lost to them.

    Attributes:
        n_masks: anomalous images whose defect pixels are known.
        n_unknown: anomalous images without a mask; pixel metrics are over the others and the normal images.
        void_share: share of the pixels that count neither way: brought in from outside by the shift, or of images
            without a mask.
        n_regions: defect regions at the images' own size.
        n_left: how many of them have a pixel at the evaluation size.
        vanished: regions that have none, by image.
        left_frame: images whose defect the shift has moved out of the frame.
        lost_half: images of which less than half of the defect's pixels are left in the frame, but some.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_masks: int
    n_unknown: int
    void_share: float
    n_regions: int
    n_left: int
    vanished: dict[str, int] = {}
    left_frame: tuple[str, ...] = ()
    lost_half: tuple[str, ...] = ()


class RunRecord(BaseModel):
    """What one run found, or why it failed.

    Attributes:
        format: of this record.
        key: identity of data, weights, settings and code behind the figures.
        group: identity of what is averaged over categories.
        params: every hyperparameter, defaults included.
        threshold: None when none was calibrated, or the run failed.
        metrics: by result column; None where a metric is not defined.
        stages: key by kind of stage, to find the artifacts in the store.
        datasets: digest of each part.
        started: ISO 8601, UTC.
        seconds: wall time of this run, which is short when others had computed its stages.
        environment: versions, device, commit.
        facts: what the method says of its fitted model: the covering radius of a coreset; and the largest possible
            error of figures that are not exact.
        setting: of a method that is tuned: "default", "tuned", or "tuned_12" for a member of a Pareto set.
        condition: where the run stands on the axes of its study; see `adloc.study_file.conditions`.
        reasons: why a metric is None, by result column.
        masks: of the test part; None in records of earlier versions.
        diagnosis: the ranking of the validation part against that of plain scores; empty where scores are plain, where
            too few images could tell, and in records of earlier versions.
        warnings: sentences: which parameter makes that ranking clearly worse, by the study's margin of the time.
        error: of a failed run.
        files: checksum of every other file of the record, by name; none in records of earlier versions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    study: str
    run_id: str
    key: str
    group: str
    category: str
    method: str
    regime: str
    scope: str
    threshold_scope: str
    repeat: int
    status: Literal["done", "failed"]
    params: dict[str, JsonValue]
    n_train: int
    n_val: int
    n_test: int
    threshold: float | None = None
    metrics: dict[str, float | None] = {}
    stages: dict[str, str] = {}
    datasets: dict[str, str] = {}
    started: str
    seconds: float
    environment: dict[str, str] = {}
    facts: dict[str, float] = {}
    setting: str = ""
    condition: dict[str, JsonValue] = {}
    reasons: dict[str, str] = {}
    masks: MaskFacts | None = None
    diagnosis: tuple[PlainComparison, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    files: dict[str, str] = {}

    @property
    def domain(self) -> str:
        """What it was evaluated in: "clean", "shift", or a real domain, which its condition names."""
        return CLEAN if evaluated_in(self.regime) == CLEAN else str(self.condition.get("domain", SHIFT))


@dataclass(frozen=True, slots=True)
class ImageScore:
    """What a run said of one image.

    Attributes:
        image: "bottle/test/broken_large/003.png".
        defect: "good", or the defect type.
        anomalous: what it is.
        score: raw.
    """

    image: str
    defect: str
    anomalous: bool
    score: float


class Records:
    """The records of one study, on disk."""

    def __init__(self, study_path: Path, changed: Callable[[str], None] = lambda _: None) -> None:
        """Keep them under the study's folder of the workspace; `changed` hears of each run whose record is another."""
        self._changed = changed
        self._root = study_path / RECORDED
        self._superseded = study_path / "superseded"
        self._verified = Verified(study_path / ".verified")
        self._read: dict[str, tuple[tuple[int, int], RunRecord]] = {}  # with the file's time and inode

    def path(self, run_id: str) -> Path:
        """Folder of a run's record."""
        return self._root / run_id

    def draft(self, run_id: str) -> Path:
        """An empty folder to fill; `write` makes it the record."""
        return empty_draft(self._root, run_id)

    def write(self, record: RunRecord) -> Path:
        """Make the draft the run's record; return its folder."""
        draft = draft_path(self._root, record.run_id)
        path = draft / "record.json"
        files = {str(each.relative_to(draft)): _crc32(each) for each in sorted(draft.rglob("*")) if each.is_file()}
        record = record.model_copy(update={"files": files})
        path.write_text(add_checksum(record.model_dump_json(indent=1)), encoding="utf-8")
        sync_files(draft)
        final = self.adopt(record.run_id)
        if pictures := _pictures(record):
            self._verified.add(record.run_id, state_of(final, pictures))  # they were read in full just now
        self._changed(record.run_id)
        return final

    def supersede(self, run_id: str) -> None:
        """Move a run's present record, if there is one, out of the way."""
        if self.path(run_id).exists():
            self.set_aside(run_id)
            self._changed(run_id)

    def adopt(self, run_id: str) -> Path:
        """Make the draft, which is on the disk, the run's record, and tell nobody; return its folder."""
        self.set_aside(run_id)
        return draft_path(self._root, run_id).rename(self.path(run_id))

    def set_aside(self, run_id: str) -> None:
        """Move a run's present record, if there is one, out of the way, and tell nobody."""
        if self.path(run_id).exists():
            self._superseded.mkdir(exist_ok=True)
            self.path(run_id).rename(self._superseded / f"{run_id}.{len(self.superseded(run_id))}")

    def superseded(self, run_id: str) -> list[Path]:
        """The folders of a run's earlier records."""
        return list(self._superseded.glob(f"{escape(run_id)}.*"))

    def get(self, run_id: str) -> RunRecord | None:
        """The record, or None if there is none that can be read; read again only where it has changed."""
        path = f"{self._root}/{run_id}/record.json"  # of thousands, all asked for several times
        known = self._read.get(run_id)
        try:
            if known is None or known[0] != _stamp(os.stat(path)):  # noqa: PTH116
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                    stamp, content = _stamp(os.fstat(file.fileno())), file.readall()
                known = self._read[run_id] = stamp, RunRecord.model_validate_json(from_checked(content))
        except (FileNotFoundError, NotADirectoryError, ValidationError, DamagedError):
            return None
        return known[1]

    def is_whole(self, record: RunRecord) -> bool:
        """Whether every file of a record is what was written, as far as it says.

        All that figures and decisions are made from is read and held to its checksum each time. Pictures, which are
        98 % of a record, are read where they do not stand on the disk as they did when they were last found whole; what
        that leaves unseen `adloc.record.verified` says. What shows a picture holds it to its checksum then, and
        `damaged_files` reads all.
        """
        folder, pictures = self.path(record.run_id), _pictures(record)
        try:
            state = state_of(folder, pictures)
        except OSError:
            return False
        is_known = not pictures or self._verified.has(record.run_id, state)
        read = {name: checksum for name, checksum in record.files.items() if not (is_known and name in pictures)}
        is_whole = all(_is_file_of(folder / name, checksum) for name, checksum in read.items())
        if is_whole and not is_known:
            self._verified.add(record.run_id, state)
        return is_whole

    def damaged_files(self, record: RunRecord) -> list[str]:
        """Names of a record's files that are not what was written, or not there."""
        folder = self.path(record.run_id)
        return [name for name, expected in record.files.items() if not _is_file_of(folder / name, expected)]

    def count_figures(self) -> int:
        """How many good records the study has had, of whatever version of its file."""
        n_replaced = len(list(self._superseded.glob("*/images.csv")))
        return n_replaced + sum(record.status == "done" for record in self.all())

    def image_scores(self, run_id: str, part: str) -> list[ImageScore]:
        """The score of every image of a part, as recorded."""
        with (self.path(run_id) / "images.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["part"] == part]
        return [
            ImageScore(f"{row['category']}/{row['name']}", row["defect"], row["label"] == "1", float(row["score"]))
            for row in rows
        ]

    def all(self) -> Iterator[RunRecord]:
        """Every readable record, those of earlier versions of the study file included."""
        for name in sorted(os.listdir(self._root)) if self._root.exists() else []:  # noqa: PTH208
            record = None if name.startswith(".") else self.get(name)
            if record is not None:
                yield record


def _stamp(state: os.stat_result) -> tuple[int, int]:
    """What tells a file from another that took its place."""
    return state.st_mtime_ns, state.st_ino


def _pictures(record: RunRecord) -> dict[str, str]:
    """Checksum by name of the files that people alone look at."""
    return {name: checksum for name, checksum in record.files.items() if name.startswith(f"{HEATMAPS}/")}


def _crc32(path: Path) -> str:
    return crc32_of(path.read_bytes())


def _is_file_of(path: Path, crc32: str) -> bool:
    """Whether there is a file with this checksum."""
    try:
        return _crc32(path) == crc32
    except OSError:
        return False


def planned_runs(study_path: Path) -> list[str] | None:
    """Ids of the runs that a study last planned; None where there is no plan that can be read."""
    try:
        return [str(run["run_id"]) for run in json.loads(read_checked(study_path / "plan.json"))["runs"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
