"""The records of a study's runs, on disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.methods.detector import Result
from adloc.metrics.ranking import precision_recall_curve, roc_curve
from adloc.record.recorder import _write_curves
from adloc.record.records import Records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("run_id", ["gear-patchcore-0123", "gear[a-c]*-patchcore-0123", "a?[!b]"])
def test_every_earlier_record_is_kept(tmp_path: Path, run_id: str) -> None:
    """Each under a number of its own, whatever characters a category's name has."""
    records = Records(tmp_path)
    for content in ("first", "second", "third"):
        records.path(run_id).mkdir(parents=True)
        (records.path(run_id) / "record.json").write_text(content)
        records.supersede(run_id)
    assert not records.path(run_id).exists()
    kept = {path.name: (path / "record.json").read_text() for path in (tmp_path / "superseded").iterdir()}
    assert kept == {f"{run_id}.{number}": text for number, text in enumerate(("first", "second", "third"))}


def test_curves_that_are_not_defined_are_left_out(tmp_path: Path) -> None:
    """Without an anomalous image there is no recall; what is written is JSON, which has no NaN."""
    scores = np.array([0.1, 0.4, 0.3], np.float32)

    def write(labels: list[int]) -> dict[str, dict[str, list[float]]]:
        arrays = {"image_scores": scores}
        for name, trace in (("roc", roc_curve), ("precision_recall", precision_recall_curve)):
            curve = trace(scores, np.array(labels, bool))
            arrays |= {f"{name}.x": curve.x, f"{name}.y": curve.y}
        _write_curves(tmp_path / "curves.json", Result(arrays))

        def refuse(name: str) -> float:
            raise AssertionError(name)

        found: dict[str, dict[str, list[float]]] = json.loads(
            (tmp_path / "curves.json").read_text(), parse_constant=refuse
        )
        return found

    both = write([0, 1, 0])
    assert set(both) == {"roc", "precision_recall"}
    assert all(len(curve["x"]) == len(curve["y"]) > 1 for curve in both.values())
    assert write([0, 0, 0]) == {}
