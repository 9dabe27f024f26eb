"""Studies for benchmarks: on textures, which need no download, each in a workspace of its own."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML

from adloc.executors.computing import Computing
from adloc.executors.on_demand import OnDemand
from adloc.progress.study import Progress
from adloc.run.runs import run_study
from adloc.study import prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from adloc.cost.phases import Phase
    from adloc.planning.stages import Stage

HERE = Path(__file__).resolve().parent


@dataclass
class Timed:
    """What a run of a study took.

    Attributes:
        seconds: wall time, from reading the study file to the models that MLflow shows.
        n_stages: computed by kind.
        stage_s: wall seconds by kind.
        n_images: that passed the backbone.
        phase_s: wall seconds of the driver's phases once the runs are there, by name.
    """

    seconds: float = 0.0
    n_stages: Counter[str] = field(default_factory=Counter)
    stage_s: Counter[str] = field(default_factory=Counter)
    n_images: int = 0
    phase_s: Counter[str] = field(default_factory=Counter)

    @property
    def study_s(self) -> float:
        """Wall time but for what explains and ships the lead: how long that takes depends on which setting leads."""
        return self.seconds - self.phase_s["explain"] - self.phase_s["models"]

    @property
    def without_features_s(self) -> float:
        """The same but for reading images and the backbone."""
        return self.study_s - self.stage_s["features"]


class Ear(Progress):
    """Notes the seconds of each kind of stage, and of each phase."""

    def __init__(self, timed: Timed) -> None:
        """Say nothing."""
        super().__init__(quiet=True)
        self._timed = timed
        self._phase, self._since = "", time.perf_counter()

    def phase_started(self, phase: Phase) -> None:
        """Add the one before up."""
        super().phase_started(phase)
        self.phase_ended()
        self._phase = phase

    def phase_ended(self) -> None:
        """Add it up."""
        now = time.perf_counter()
        self._timed.phase_s[self._phase] += now - self._since
        self._phase, self._since = "", now

    def stage_done(self, stage: Stage, seconds: float, n_images: int) -> None:
        """Add it up."""
        super().stage_done(stage, seconds, n_images)
        self._timed.n_stages[stage.kind] += 1
        self._timed.stage_s[stage.kind] += seconds
        self._timed.n_images += n_images


def time_study(study: dict[str, Any], workspace: Path) -> Timed:
    """Run a study in this process."""
    path = workspace / f"{study['study']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        YAML().dump(study, file)
    timed = Timed()
    start = time.perf_counter()
    prepared = prepare(path, [], Workspace(workspace), download=False)
    with Ear(timed) as ear:
        outcome = run_study(prepared, OnDemand(Computing(device="cpu")), ear)
        ear.phase_ended()
    timed.seconds = time.perf_counter() - start
    if outcome.n_failed:
        message = f"{outcome.n_failed} runs failed; see {workspace}"
        raise RuntimeError(message)
    return timed


def time_afresh(study: dict[str, Any]) -> Timed:
    """Run a study in a workspace that is empty before and gone after."""
    with TemporaryDirectory() as folder:
        return time_study(study, Path(folder))


def texture_study(name: str, dataset: dict[str, Any], method: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """One method on brick, whose models are not exported: a cost of their own."""
    return {"study": name, "dataset": {"kind": "textures", "categories": ["brick"], **dataset}, "methods": [method],
            "models": "none", **keys}  # fmt: skip
