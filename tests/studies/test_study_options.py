"""What a study may ask for beyond its methods: the dtype of features, and how pixels are measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adloc.cli import cli

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_report")]  # whole studies

STUDY = """\
study: options
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 48}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, coreset_ratio: 0.1}}
heatmaps: 0
models: none
"""


def run(root: Path, folder: Path, *overrides: str, expect: int = 0) -> tuple[dict[str, Any], str]:
    """The study's row, and what was said."""
    path = folder / "options.yaml"
    path.write_text(STUDY.format(root=root))
    sets = [part for override in overrides for part in ("--set", override)]
    command = ["study", "run", str(path), "--workspace", str(folder / "workspace"), "--json", *sets]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == expect, result.output
    return (json.loads(result.stdout)["results"][0] if expect == 0 else {}), result.output


def record(folder: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The row's record."""
    path = folder / "workspace" / "studies" / "options" / "records" / row["run_id"] / "record.json"
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(scope="module")
def plain(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The row of the study as it is by default, and its folder; to read only."""
    folder = tmp_path_factory.mktemp("plain")
    return run(mvtec_tree, folder)[0], folder


def size_of_features(folder: Path) -> int:
    """Bytes in the store."""
    return sum(f.stat().st_size for f in (folder / "workspace" / "store" / "features").rglob("*.safetensors"))


def test_float16_halves_the_store(mvtec_tree: Path, tmp_path: Path, plain: tuple[dict[str, Any], Path]) -> None:
    """Half the bytes, and scores that move by no more than the rounding of a float16, 1 in 2048."""
    row, folder = plain
    small, _ = run(mvtec_tree, tmp_path, "features.dtype=float16")
    assert size_of_features(tmp_path) < 0.6 * size_of_features(folder)
    assert small["threshold"] == pytest.approx(row["threshold"], rel=0.01)
    assert small["pixel_auroc"] == pytest.approx(row["pixel_auroc"], abs=0.005)


def test_dtypes_do_not_mix(mvtec_tree: Path, tmp_path: Path) -> None:
    """A study asked again in another dtype computes its features again, and is a result of its own."""
    first, _ = run(mvtec_tree, tmp_path, "features.dtype=float16")
    second, _ = run(mvtec_tree, tmp_path)
    kept = list((tmp_path / "workspace" / "studies" / "options").glob("superseded/*"))
    assert first["run_id"] == second["run_id"]
    assert len(kept) == 1


def test_streaming_agrees_within_its_bounds(
    mvtec_tree: Path, tmp_path: Path, plain: tuple[dict[str, Any], Path]
) -> None:
    """The figures of the record are within the recorded bounds of the exact ones; image figures are the same."""
    row, folder = plain
    streamed, _ = run(mvtec_tree, tmp_path, "evaluation.mode=streaming")
    bounds = record(tmp_path, streamed)["facts"]
    for name in ("pixel_auroc", "pixel_aupro", "pixel_aupro_005"):
        assert 0 < bounds[f"{name}_error"] < 1e-4
        assert abs(streamed[name] - row[name]) <= bounds[f"{name}_error"]
    assert streamed["image_auroc"] == row["image_auroc"]
    assert not any(name.endswith("_error") for name in record(folder, row)["facts"])


@pytest.mark.parametrize("override", ["features.dtype=float8", "evaluation.mode=fast"])
def test_other_values_are_refused(mvtec_tree: Path, tmp_path: Path, override: str) -> None:
    """With the choices that there are."""
    _, said = run(mvtec_tree, tmp_path, override, expect=2)
    assert override.split("=", maxsplit=1)[0] in said
    assert "it must be" in said
