"""Study files that are wrong, by the command line: each mistake is found, with its rule and its remedy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from commandline import call
from faults.told import refused

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VALID = {
    "study": "faults",
    "dataset": "{kind: textures, categories: [brick], n_train: 8, n_test_good: 4, n_per_defect: 4}",
    "methods": "[{method: patchcore, params: {backbone: resnet18}}]",
}
ENTRY = "[{{method: patchcore, params: {{backbone: resnet18{}}}{}}}]"


def of_patchcore(params: str = "", more: str = "") -> str:
    """The valid methods with more parameters, or more keys beside them."""
    return ENTRY.format(f", {params}" if params else "", f", {more}" if more else "")


# Key, what stands there, and what is said to be found.
MISTAKES = [
    ("study", "", "study is empty"),
    ("study", "5", "study is 5"),
    ("study", '""', 'study is ""'),
    ("study", "x" * 81, "study is xxx"),
    ("study", "../x", "study is ../x"),
    ("study", ".", "study is ."),
    ("study", "ü", "study is ü"),
    ("study", "{a: 1}", "study is {'a': 1}"),
    ("study", "-", "sequence entries are not allowed here"),
    ("dataset", "", "dataset is empty"),
    ("dataset", "textures", "dataset is textures"),
    ("dataset", "{}", "dataset.kind is missing"),
    ("dataset", "{kind: null}", "dataset.kind is None"),
    ("dataset", "{kind: [textures]}", "dataset.kind is ['textures']"),
    ("dataset", "{kind: 'os:system'}", "dataset.kind is os:system"),
    ("dataset", "{kind: 'nothere.module:NAME'}", "dataset.kind is nothere.module:NAME"),
    ("dataset", "{kind: textures, categories: []}", "dataset.categories is []"),
    ("dataset", "{kind: textures, categories: [1]}", "dataset.categories[0] is 1"),
    ("dataset", "{kind: textures, categories: [brick, brick]}", "dataset.categories is ['brick', 'brick']"),
    ("dataset", "{kind: textures, n_train: -5}", "dataset.n_train is -5"),
    ("dataset", "{kind: mvtec_ad}", "dataset.root is missing"),
    ("dataset", "{kind: mvtec_ad, root: 5}", "dataset.root is 5"),
    ("dataset", '{kind: mvtec_ad, root: "${EMPTY}"}', "dataset.root is ${EMPTY}, and EMPTY is empty"),
    ("dataset", "{kind: mvtec_ad, root: /x, domain: '('}", "dataset.domain is ("),
    ("dataset", "{kind: folder, root: /x}", "dataset.normal is missing"),
    ("dataset", "{kind: folder, root: /x, normal: [/etc/*]}", "dataset.normal[0] is /etc/*"),
    ("dataset", "{kind: folder, root: /x, normal: ['../x']}", "dataset.normal[0] is ../x"),
    ("dataset", "{kind: table}", "dataset.file is missing"),
    ("image", "5", "image is 5"),
    ("image", "{size: 0}", "image.size is 0"),
    ("image", "{size: 1000000000}", "image.size is 1000000000"),
    ("image", "{size: [64, 64, 64]}", "image.size is [64, 64, 64]"),
    ("image", "{size: .nan}", "image.size is nan"),
    ("image", "{size: true}", "image.size is true"),
    ("image", "{size: 64, crop: 65}", "image is {'size': 64, 'crop': 65}"),
    ("image", "{size: 64, tiles: {rows: 1000, columns: 1}}", "image.tiles.rows is 1000"),
    ("image", "{size: 64, tiles: {rows: 2, columns: 2, overlap: 1}}", "image.tiles.overlap is 1"),
    ("methods", "[]", "methods is []"),
    ("methods", "patchcore", "methods is patchcore"),
    ("methods", "[null]", "methods[0] is empty"),
    ("methods", "[{}]", "methods[0].method is missing"),
    ("methods", "[{method: 5}]", "methods[0].method is 5"),
    ("methods", "[{method: ':'}]", "methods[0].method is :"),
    ("methods", "[{method: 'json:loads'}]", "method json:loads: json is a part of Python"),
    ("methods", "[{method: patchcore, params: []}]", "methods[0].params is []"),
    ("methods", of_patchcore("neighbours: -1"), "methods[0].params.neighbours is -1"),
    ("methods", of_patchcore("neighbours: .inf"), "methods[0].params.neighbours is inf"),
    ("methods", of_patchcore("coreset_ratio: .nan"), "methods[0].params.coreset_ratio is nan"),
    ("methods", of_patchcore("layers: []"), "methods[0].params.layers is []"),
    ("methods", of_patchcore("backbone: ''").replace("backbone: resnet18, ", ""), 'methods[0].params.backbone is ""'),
    ("methods", of_patchcore(more="grid: []"), "methods[0].grid is []"),
    ("methods", of_patchcore(more="grid: {neighbours: {}}"), "methods[0].grid.neighbours is {}"),
    ("methods", of_patchcore(more="tune: 5"), "methods[0].tune is 5"),
    ("methods", of_patchcore(more="tune: {space: {}}"), "methods[0].tune.space is empty"),
    (
        "methods",
        of_patchcore(more="tune: {space: {neighbours: {low: 9, high: 1, type: int}}}"),
        "methods[0].tune.space.neighbours goes from 9 to 1",
    ),
    (
        "methods",
        of_patchcore(more="tune: {space: {neighbours: {choices: []}}}"),
        "methods[0].tune.space.neighbours.choices is []",
    ),
    ("regimes", "clean", "regimes is clean"),
    ("regimes", "[null]", "regimes[0] is empty"),
    ("scopes", "[both]", "scopes[0] is both"),
    ("repeats", "1e30", "repeats is 1e+30"),
    ("repeats", "9223372036854775807", "repeats is 9223372036854775807"),
    ("thresholds", "f1", "thresholds is f1"),
    ("thresholds", "{objective: guaranteed_fpr, fpr: 0}", "thresholds.fpr is 0"),
    ("split", "[]", "split is []"),
    ("split", "{train_fraction: .nan}", "split.train_fraction is nan"),
    ("split", "{group: '(a)(b)'}", "split.group is (a)(b)"),
    ("shift", "5", "shift is 5"),
    ("shift", "{severity: -1}", "shift.severity is -1"),
    ("shift", "{severity: .inf}", "shift.severity is inf"),
    ("shift", "{kind: domains, targets: {}}", "shift.targets is {}"),
    ("learning_curve", "5", "learning_curve is 5"),
    ("learning_curve", "{train_images: [0]}", "learning_curve.train_images[0] is 0"),
    ("train", "{contamination: .nan}", "train.contamination is nan"),
    ("train", "{images: []}", "train.images is []"),
    ("operating", "{}", "operating.prevalence is missing"),
    (
        "operating",
        "{prevalence: .nan, cost_miss: 1, cost_false_alarm: 1}",
        "operating.prevalence is nan",
    ),
    ("evaluation", "{size: 0}", "evaluation.size is 0"),
    ("evaluation", "{size: 1000000000}", "evaluation.size is 1000000000"),
    ("evaluation", "{size: true}", "evaluation.size is true"),
    ("comparison", "{margin: .nan}", "comparison.margin is nan"),
    ("tuning", "{trials: 0}", "tuning.trials is 0"),
    ("tuning", "{metric: image_auroc}", "tuning.metric is image_auroc"),
    ("features", "float16", "features is float16"),
    ("heatmaps", ".inf", "heatmaps is inf"),
    ("max_runs", "0", "max_runs is 0"),
    ("seed", "-1", "seed is -1"),
    ("models", "[best]", "models is ['best']"),
    ("explain", "{mask_noise: [-1]}", "explain.mask_noise[0] is -1"),
    ("description", "{a: 1}", "description is {'a': 1}"),
    ("max_run", "5", "max_run is not a key here"),
    ("", "5", "None is not a key here"),
]


@pytest.mark.parametrize(("key", "value", "words"), MISTAKES)
def test_mistake_in_a_study_file_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caused: Callable[..., None],
    key: str,
    value: str,
    words: str,
) -> None:
    """Exit code 2, with the file, the key and what stands there."""
    monkeypatch.setenv("EMPTY", "")
    path = tmp_path / "s.yaml"
    path.write_text("".join(f"{k}: {v}\n" for k, v in (VALID | {key: value}).items()), encoding="utf-8")
    told = refused(call("study", "validate", path), words)
    assert told.found.startswith(f"{path}:")
    assert not told.rule.startswith("Input should")  # Pydantic's words are for programmers
    caused("study files that are wrong")


# What is the matter with a backbone shows when it is looked for, before anything is computed.
NO_BACKBONES = {
    "program of the system": ("backbone: 'os:system'", "backbone os:system: os is a part of Python"),
    "no module": ("backbone: 'nothere.module:net'", "No module named 'nothere'"),
    "no function": ("backbone: 'adloc.keys:nothing'", "nothing does not exist in adloc.keys"),
    "no file of weights": ("backbone: resnet18, weights: /nowhere.pth", "weights /nowhere.pth: no such file"),
}


@pytest.mark.parametrize(("params", "words"), NO_BACKBONES.values(), ids=NO_BACKBONES)
def test_backbone_that_is_none_is_told(tmp_path: Path, caused: Callable[..., None], params: str, words: str) -> None:
    """Exit code 2, before an image is read."""
    path = tmp_path / "s.yaml"
    lines = VALID | {"methods": f"[{{method: knn, params: {{{params}}}}}]"}
    path.write_text("".join(f"{k}: {v}\n" for k, v in lines.items()))
    refused(call("study", "run", path, "--workspace", tmp_path / "w"), words)
    assert not (tmp_path / "w").exists()
    caused("study files that are wrong")


def empty(path: Path) -> None:
    """A file of no bytes."""
    path.write_bytes(b"")


def picture(path: Path) -> None:
    """A file of another kind."""
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def utf_16(path: Path) -> None:
    """Text, but not UTF-8."""
    path.write_text("study: x\n", encoding="utf-16")


def huge(path: Path) -> None:
    """More than any study."""
    path.write_bytes(b"#" * 1_100_000)


def folder(path: Path) -> None:
    """No file."""
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    """A link whose file is gone."""
    path.symlink_to("nowhere.yaml")


def link_to_itself(path: Path) -> None:
    """A link that never ends."""
    path.symlink_to(path.name)


def device(path: Path) -> None:
    """Bytes without an end."""
    path.symlink_to("/dev/zero")


def absent(path: Path) -> None:
    """Nothing."""


@pytest.mark.parametrize(
    "make", [empty, picture, utf_16, huge, folder, link_to_nothing, link_to_itself, device, absent]
)
@pytest.mark.parametrize("verb", ["validate", "plan", "status"])
def test_what_is_no_study_file_is_told(
    tmp_path: Path, caused: Callable[..., None], make: Callable[[Path], None], verb: str
) -> None:
    """Whatever lies there."""
    path = tmp_path / "s.yaml"
    make(path)
    workspace = [] if verb == "validate" else ["--workspace", str(tmp_path / "w")]
    told = refused(call("study", verb, path, *workspace), str(path))
    assert os.fspath(path) in told.found
    caused("study files that are wrong")
