"""A wrong study file gives, for every mistake, where it is, what was found, the rule and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adloc.errors import UserError
from adloc.study_file.reader import StudyFile
from adloc.study_file.validation import load_study
from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALID = """\
study: trial
dataset:
  kind: textures
  categories: [brick]
methods:
  - method: patchcore
    params:
      backbone: efficientnet_lite0
    grid:
      coreset_ratio: [0.01, 0.05]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Write a study file and return its path."""

    def write_text(text: str) -> Path:
        path = tmp_path / "s.yaml"
        path.write_text(text)
        return path

    return write_text


def complaints(path: Path, *overrides: str) -> list[str]:
    """The complaints about a study file, as shown."""
    with pytest.raises(UserError) as caught:
        load_study(path, overrides)
    return [str(c) for c in caught.value.complaints]


def test_valid_file_gives_spec_with_defaults(write: Callable[[str], Path]) -> None:
    """Every default of the contract is in the resolved spec."""
    _, spec = load_study(write(VALID))
    resolved = spec.resolved()
    drawn = {"kind": "drawn", "group": None, "test_fraction": 0.2}
    assert resolved["split"] == {**drawn, "train_fraction": 0.8, "validation_defects": 0.3, "seed": 42}
    assert resolved["image"] == {"size": 224, "crop": None}
    assert resolved["regimes"] == ["clean"]
    assert resolved["heatmaps"] == 8


def test_resolved_spec_is_a_study_file_again(write: Callable[[str], Path]) -> None:
    """What is recorded as study.yaml can be run."""
    from adloc.study import spec_yaml

    _, spec = load_study(write(VALID))
    _, again = load_study(write(spec_yaml(spec)))
    assert again == spec


def test_native_evaluation_is_streamed(write: Callable[[str], Path]) -> None:
    """Images of different sizes are compared one by one; the resolved file says so, and reads back."""
    _, spec = load_study(write(VALID.replace("methods:", "evaluation: {size: native}\nmethods:")))
    assert (spec.evaluation.size, spec.evaluation.mode) == ("native", "streaming")


def test_tuning_needs_the_metric_that_it_seeks(write: Callable[[str], Path]) -> None:
    """A search cannot improve what is not measured."""
    tuned = VALID.replace("methods:", "evaluation: {metrics: [image_auroc]}\nmethods:")
    tuned += "    tune: {space: {neighbours: {choices: [1, 9]}}}\ntuning: {metric: val_image_f1}\n"
    assert "lacks image_f1, which tuning seeks" in "\n".join(complaints(write(tuned)))


@pytest.mark.parametrize(
    ("old", "new", "line", "state", "rule", "remedy"),
    [
        (
            "study: trial",
            "study: trial\nregime: [clean]",
            2,
            "regime is not a key here",
            "regimes",
            "regimes?",
        ),
        ("study: trial", "study: a b", 1, "study is a b", "letters, digits", "coreset_ablation"),
        ("study: trial\n", "", 0, "study is missing", "letters", "study:"),
        (
            "kind: textures",
            "kind: texture",
            3,
            "dataset.kind is texture",
            "textures",
            "did you mean textures?",
        ),
        (
            "kind: textures",
            "kind: textures\n  root: /x",
            4,
            "dataset.root is not a key here",
            "categories",
            "",
        ),
        ("method: patchcore", "method: patchcor", 6, "methods[0].method is patchcor", "patchcore", ""),
        ("backbone:", "backbne:", 8, "methods[0].params.backbne is not a parameter", "backbone", "backbone?"),
        (
            "0.01, 0.05",
            "0.01, 0",
            10,
            "methods[0].grid.coreset_ratio[1] is 0",
            "above 0 and at most 1",
            "0.01",
        ),
        ("[0.01, 0.05]", "0.05", 10, "methods[0].grid.coreset_ratio is 0.05", "list of values", "params"),
        ("[0.01, 0.05]", "[]", 10, "methods[0].grid.coreset_ratio is an empty list", "at least one", ""),
        (
            "    params:",
            "    params:\n      coreset_ratio: 0.1",
            11,
            "grid.coreset_ratio is also in",
            "one of",
            "delete",
        ),
        ("methods:", "image: {size: big}\nmethods:", 5, "image.size is big", "", ""),
        ("methods:", "models: some\nmethods:", 5, "models is some", "one of best, all, none", "none?"),
        ("methods:", "split: {train_fraction: 2}\nmethods:", 5, "split.train_fraction is 2", "", ""),
        (
            "methods:",
            "evaluation: {metrics: [pixel_aupr]}\nmethods:",
            5,
            "evaluation.metrics[0] is pixel_aupr",
            "without val_",
            "pixel_aupr",
        ),
        (
            "methods:",
            "evaluation: {metrics: [val_image_f1]}\nmethods:",
            5,
            "evaluation.metrics[0] is val_image_f1",
            "metric of images or pixels",
            "image_f1?",
        ),
        (
            "methods:",
            "evaluation: {metrics: []}\nmethods:",
            5,
            "evaluation.metrics is []",
            "list of image",
            "image_auroc",
        ),
        (
            "methods:",
            "evaluation: {size: native, mode: exact}\nmethods:",
            5,
            "evaluation.mode is exact, and evaluation.size is native",
            "bounded memory",
            "streaming",
        ),
        ("methods:", "evaluation: {size: nativ}\nmethods:", 5, "evaluation.size is nativ", "native", "224"),
        (
            "methods:",
            "shift: {at: model, drop_vanished: true}\nmethods:",
            5,
            "shift.drop_vanished is true",
            "size",
            "native",
        ),
        ("methods:", "shift: {at: sensor}\nmethods:", 5, "shift.at is sensor", "native", "native"),
        ("methods:", "repeats: 0\nmethods:", 5, "repeats is 0", "1 to 1000", ""),
        ("methods:", "regimes: [clear]\nmethods:", 5, "regimes[0] is clear", "clean", "clean?"),
        (
            "methods:",
            "split: {validation_defects: 0}\nmethods:",
            0,
            "thresholds.objective is f1",
            "F1",
            "normal_max",
        ),
        (
            "      backbone: efficientnet_lite0",
            "      neighbours: many",
            8,
            "params.neighbours is many",
            "",
            "",
        ),
        ("[brick]", "[bric]", 4, "dataset.categories", "brick", ""),
    ],
)
def test_mistakes_are_named(
    write: Callable[[str], Path], old: str, new: str, line: int, state: str, rule: str, remedy: str
) -> None:
    """File, line, key, value found, rule and remedy: three lines for one mistake."""
    assert old in VALID
    path = write(VALID.replace(old, new))
    (text,) = complaints(path)
    first, second, third = text.split("\n")
    assert first.startswith(f"{path}:{line}: " if line else f"{path}: ")  # a key that is not there has no line
    assert state in first
    assert rule in second
    assert second.startswith("  ")
    assert remedy in third
    assert third.startswith("  ")


def test_a_number_among_names_is_to_be_quoted(write: Callable[[str], Path]) -> None:
    """BTAD's categories are called 01, 02, 03: unquoted they are numbers, and the remedy has the zero."""
    path = write(VALID.replace("textures\n  categories: [brick]", "btad\n  root: x\n  categories: [01]"))
    (text,) = complaints(path)
    assert "dataset.categories[0] is 01, which YAML reads as a number" in text
    assert text.endswith('put it in quotes: "01"')


def test_all_mistakes_at_once(write: Callable[[str], Path]) -> None:
    """A file with three mistakes gives three complaints."""
    text = VALID.replace("0.01, 0.05", "0, 2").replace("backbone:", "backbne:")
    assert len(complaints(write(text))) == 3


def test_unset_variable_is_named(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """An unset variable says its name; MVTEC_AD_ROOT also where the data is to be had and how to do without."""
    monkeypatch.delenv("MVTEC_AD_ROOT", raising=False)
    text = VALID.replace("  kind: textures\n", "  kind: mvtec_ad\n  root: ${MVTEC_AD_ROOT}\n")
    path = write(text)
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}:4: dataset.root is ${{MVTEC_AD_ROOT}}, and MVTEC_AD_ROOT is not set")
    assert "MVTec Anomaly Detection Dataset" in complaint
    assert "export MVTEC_AD_ROOT" in complaint
    assert "--set" in complaint


def test_set_variable_is_expanded(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """${VAR} and ~ are expanded."""
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.setenv("HOME", "/home/someone")
    data = StudyFile(write("a: ${PLACE}/x\nb: ~/y\n")).data
    assert data == {"a": "/data/x", "b": "/home/someone/y"}


def test_overrides_reach_every_depth(write: Callable[[str], Path]) -> None:
    """--set takes dotted keys, list items and YAML values, and makes sections that the file leaves out."""
    _, spec = load_study(
        write(VALID),
        ["image.size=[64, 96]", "methods[0].params.neighbours=3", "methods.0.grid.coreset_ratio=[1]"],
    )
    assert spec.image.size == (64, 96)
    assert spec.methods[0].params["neighbours"] == 3
    assert spec.methods[0].grid["coreset_ratio"] == [1]


def test_wrong_override_is_named(write: Callable[[str], Path]) -> None:
    """A mistake that came from --set is located there, not in the file."""
    (complaint,) = complaints(write(VALID), "repeats=none")
    assert complaint.startswith("--set repeats=none: repeats is none")


@pytest.mark.parametrize("override", ["repeats", "=3", "a..b=1", "image.size=[1,"])
def test_malformed_override_is_refused(write: Callable[[str], Path], override: str) -> None:
    """An override that is not key=value in YAML is refused with an example."""
    (complaint,) = complaints(write(VALID), override)
    assert "dotted.key=value" in complaint


def test_not_yaml_gives_the_line(write: Callable[[str], Path]) -> None:
    """A syntax error has its line."""
    path = write("study: x\nmethods: [a,\nb: c: d\n")
    (complaint,) = complaints(path)
    assert complaint.startswith(f"{path}:")
    assert "must be YAML" in complaint


def test_missing_file_is_named(tmp_path: Path) -> None:
    """No such file, no traceback."""
    (complaint,) = complaints(tmp_path / "none.yaml")
    assert "none.yaml: No such file" in complaint


def test_shipped_studies_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of studies/ validates, and its description asks a question."""
    monkeypatch.setenv("MVTEC_AD_ROOT", "/data/mvtec_ad")
    files = sorted((ROOT / "studies").glob("*.yaml"))
    assert files
    for path in files:
        _, spec = load_study(path)
        assert spec.study == path.stem
        assert spec.description.endswith("?")
