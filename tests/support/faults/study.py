"""A study that is small and whole: a grid, a search, heatmaps, a model that is logged; and what it leaves behind."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from categories import write_category
from faults.moments import HANGS_S
from forked import Forked

if TYPE_CHECKING:
    from collections.abc import Sequence

STUDY = """\
study: whole
dataset: {{kind: mvtec_ad, root: {root}}}
image: {{size: 32}}
methods:
  - {{method: floor, grid: {{unit: [grey_level, deviation]}}}}
  - {{method: floor, params: {{unit: grey_level}}, tune: {{space: {{smoothing_sigma: {{choices: [1.0, 2.0, 4.0]}}}}}}}}
tuning: {{metric: val_image_auroc, trials: 3}}
heatmaps: 2
"""
COSTS = ("fit_s", "score_ms_per_image", "peak_memory_mb")


def write_study(folder: Path) -> Path:
    """The study's file and its images."""
    write_category(folder / "data", "gear", 40, 48, channels=3, n_train=10, n_defects=4)
    path = folder / "s.yaml"
    path.write_text(STUDY.format(root=folder / "data"))
    return path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    Attributes:
        code: its exit code; the negative number of the signal that ended it.
        moments: a word for each of its moments of writing, in order; none of a process that was killed.
        output: all that it printed.
    """

    code: int
    moments: list[str]
    output: str


class Forks:
    """Commands of `adloc`, each in a process of its own whose moments of writing are counted; see `faults.moments`."""

    def run(self, study: Path, workspace: Path, **request: Any) -> Ended:
        """Run the study in the workspace."""
        return self.verb(workspace, "study", "run", study, "--workspace", workspace, **request)

    def verb(self, workspace: Path, *arguments: object, **request: Any) -> Ended:
        """Carry out a command; what it writes below the workspace counts."""
        return self.together(workspace, arguments, **request)[0]

    def together(self, workspace: Path, *commands: Sequence[object], before: str = "", **request: Any) -> list[Ended]:
        """Carry out several commands, started together.

        Args:
            workspace: where writing counts.
            commands: their arguments.
            before: Python that each process runs first: what is different in it.
            request: see `count_moments`.
        """
        with TemporaryDirectory() as folder:
            started = []
            for place, arguments in enumerate(commands):
                told = {"workspace": str(workspace), "seen": f"{folder}/{place}", **request}
                counting = f"{before}\nfrom faults.moments import count_moments\ncount_moments(**{told!r})"
                started.append(Forked(*map(str, arguments), cwd=Path.cwd(), before=counting))
            ended = [(command, command.end(HANGS_S + 60)) for command in started]
            seen = [Path(folder, str(place)) for place in range(len(commands))]
            return [
                Ended(command.code or 0, json.loads(path.read_text()) if path.exists() else [], "".join(said))
                for (command, said), path in zip(ended, seen, strict=True)
            ]


def figures(workspace: Path) -> dict[str, Any]:
    """All that the study found, costs and times left out: rows of the table, records, scores, curves, trials."""
    folder = workspace / "studies" / "whole"
    found: dict[str, Any] = {}
    for path in sorted((folder / "records").glob("[!.]*/record.json")):
        record = json.loads(path.read_text())
        metrics = {name: value for name, value in record["metrics"].items() if name not in COSTS}
        kept = [path.parent / name for name in ("images.csv", "curves.json", "manifest.csv")]
        pictures = sorted((path.parent / "heatmaps").glob("*.png"))
        found[record["run_id"]] = [
            record["status"], record["key"], record["threshold"], metrics, record["facts"],
            [each.read_bytes() for each in (*kept, *pictures)],
        ]  # fmt: skip
    with (folder / "results.csv").open(newline="") as file:
        rows = [{name: cell for name, cell in row.items() if name not in COSTS} for row in csv.DictReader(file)]
    found["results.csv"] = rows
    for path in sorted(folder.glob("trials/*/r*/*.json")):
        trial = json.loads(path.read_text())
        found[path.stem] = [trial["number"], trial["state"], trial["params"], trial["figures"].get("val_image_auroc")]
    return found


def tracked(workspace: Path) -> dict[str, int]:
    """Of MLflow's runs that are not deleted: how many there are in each state, and how many show another's record."""
    with closing(sqlite3.connect(workspace / "mlflow.db")) as database:
        states = dict(
            database.execute("SELECT status, count(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY status")
        )
        twice = database.execute(
            "SELECT count(*) FROM (SELECT value FROM tags JOIN runs USING (run_uuid) WHERE key = 'adloc.run_id' "
            "AND lifecycle_stage = 'active' GROUP BY value, experiment_id HAVING count(*) > 1)"
        ).fetchone()[0]
    return {**states, "twice": twice}


def stages(workspace: Path) -> dict[str, int]:
    """The results of stages that are whole, each with the number of its file: another one where it is written again."""
    root = workspace / "store"
    return {str(path.relative_to(root)): path.stat().st_ino for path in root.glob("[!.]*/*/*.safetensors")}


def copy_of(workspace: Path, to: Path) -> Path:
    """The workspace, to be damaged."""
    shutil.copytree(workspace, to)
    return to
