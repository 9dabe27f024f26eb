"""Two processes in one workspace: what one has finished the other does not compute, and both may write one file."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch

from adloc.computing.compute import Workbench
from adloc.computing.features import KIND
from adloc.computing.store import Store
from adloc.planning.extents import Extents
from adloc.planning.plan import walk
from adloc.planning.stages import FeatureStage
from adloc.record.files import read_checked, write_checked, write_whole
from adloc.study import prepare
from adloc.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adloc.methods.detector import Result
    from adloc.planning.plan import Plan
    from adloc.planning.stages import Stage

STUDY = """\
study: beside
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 32}}
models: none
methods: [{{method: patchcore, params: {{backbone: efficientnet_lite0, neighbours: 2, coreset_ratio: 0.05}}}}]
"""
BATCH = 4


class Counting(Store):
    """Counts what is put, by kind and key."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.puts: Counter[tuple[str, str]] = Counter()

    def _put(self, kind: str, key: str, result: Result) -> None:
        self.puts[kind, key] += 1
        super()._put(kind, key, result)


class Meanwhile:
    """Has something done at the first call of one kind."""

    def __init__(self, word: str, act: Callable[[], object]) -> None:
        self._word, self._act, self.at = word, act, ""

    def __getattr__(self, name: str) -> Callable[..., None]:
        def told(stage: Stage, *_: Any) -> None:
            if name == self._word and not self.at:
                self.at = stage.kind
                self._act()

        return told


@pytest.fixture
def plan(mvtec_tree: Path, tmp_path: Path) -> Plan:
    """Of one run that reads features."""
    path = tmp_path / "s.yaml"
    path.write_text(STUDY.format(root=mvtec_tree))
    return prepare(path, [], Workspace(tmp_path), download=False).plan


@pytest.mark.parametrize(
    ("word", "stage_of"),
    [("stage_progress", lambda run: run.fit[0].source), ("stage_started", lambda run: run.test)],
    ids=["features, after the first images", "stages, before the first one"],
)
def test_what_another_has_finished_meanwhile_is_not_computed(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, stage_of: Callable[[Any], Stage]
) -> None:
    """Another process overtakes this one; what is in hand then is all that is computed twice."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # images pass one batch after another
    store, last = Counting(tmp_path / "store"), stage_of(plan.runs[0])

    def bench(listener: Any) -> Workbench:
        return Workbench(store, Extents.of(plan), torch.device("cpu"), listener, BATCH)

    overtaking = Meanwhile(word, lambda: bench(Meanwhile("", lambda: None)).result(last))
    if word == "stage_started":
        for stage in walk(last):
            if isinstance(stage, FeatureStage):
                bench(Meanwhile("", lambda: None)).result(stage)
    bench(overtaking).result(last)
    twice = {name for name, n in store.puts.items() if n > 1}
    assert overtaking.at
    assert len(store.puts) > BATCH
    if word == "stage_progress":
        assert not twice
    else:
        assert {kind for kind, _ in twice} == {overtaking.at}
        assert KIND not in {kind for kind, _ in twice}


@pytest.mark.parametrize("checked", [True, False])
def test_file_that_several_write_is_whole(tmp_path: Path, *, checked: bool) -> None:
    """A report may be written by hand while its study writes it too."""
    path = tmp_path / "a.json"

    def write(writer: int) -> None:
        for _ in range(100):
            if checked:
                write_checked(path, {"text": f"{writer}" * 5000})
                read_checked(path)
            else:
                write_whole(path, f"{writer}".encode() * 5000)
                assert len(set(path.read_bytes())) == 1

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
