"""Parameters that the images or the network make impossible are told with their line before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from adloc.cost.networks import NETWORKS, map_shapes
from adloc.datasets.transform import ImageConfig
from adloc.errors import UserError
from adloc.methods import METHODS
from adloc.methods.backbone import resolve_weights
from adloc.methods.given import Given
from adloc.methods.network import load_backbone
from adloc.methods.registry import require_possible
from adloc.study import prepare
from adloc.workspace import Workspace
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

LITE0 = "backbone: efficientnet_lite0, weights: random"
# A method with parameters in a file for images of 64 x 64, the line they stand in, what is told of them.
IMPOSSIBLE = {
    "more features than channels": (
        f"- method: padim\n  params: {{{LITE0}, layers: [layer1, layer2]}}\n  grid: {{n_features: [8, 65]}}\n",
        "7: padim: n_features is 65, and layer1, layer2 have 64 channels together",
    ),
    "blur over the map": (
        f"- method: padim\n  params: {{{LITE0}, n_features: 8, smoothing_sigma: 16.0}}\n",
        "6: padim: smoothing_sigma 16 reaches 64 pixels over maps of 64 x 64",
    ),
    "pooling over the map": (
        f"- method: dfm\n  params: {{{LITE0}, layers: [layer3], pooling: 5}}\n",
        "6: dfm: pooling is 5, and the map of layer3 is 4 x 4",
    ),
    "bank of one entry": (
        f"- method: patchcore\n  params: {{{LITE0}, layers: [layer1]}}\n  grid: {{coreset_ratio: [0.5, 0.0001]}}\n",
        "the memory bank has 1 entry",
    ),
    "stride that leaves one entry": (
        f"- method: patchcore\n  params: {{{LITE0}, layers: [layer1], patch_stride: 16, coreset_ratio: 0.05}}\n",
        "the memory bank has 1 entry",
    ),
}


def study(folder: Path, methods: str) -> Path:
    """A study of a category of ten training images."""
    path = folder / "s.yaml"
    path.write_text(
        "study: x\ndataset: {kind: textures, categories: [brick], n_train: 13, n_test_good: 6, n_per_defect: 2}\n"
        f"image: {{size: 64}}\nmethods:\n{methods}"
    )
    return path


@pytest.mark.parametrize(("methods", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_parameters_are_told_before_any_work(tmp_path: Path, methods: str, words: str) -> None:
    """Exit code 2, as of the other mistakes of a file, and nothing is computed."""
    output = adloc("study", "run", study(tmp_path, methods), "--workspace", tmp_path / "w", expect=2).output
    assert words in output
    assert not list((tmp_path / "w").glob("store/*/*"))


def test_every_impossible_value_is_told_once(tmp_path: Path) -> None:
    """However many runs have it."""
    methods = f"- method: padim\n  params: {{{LITE0}, layers: [layer1]}}\n  grid: {{n_features: [24, 25, 30]}}\n"
    with pytest.raises(UserError) as caught:
        prepare(study(tmp_path, methods), ["repeats=3"], Workspace(tmp_path / "w"), download=False)
    assert [each.found.partition("n_features ")[2][:5] for each in caught.value.complaints] == ["is 25", "is 30"]


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("padim", {"n_features": 176}),
        ("dfm", {"pooling": 4, "layers": ("layer3",)}),
        ("patchcore", {"coreset_ratio": 2 / 2560, "layers": ("layer1",)}),
        ("patchcore", {"coreset_ratio": 1e-9, "reweight": "none", "layers": ("layer1",)}),
    ],
)
def test_the_last_possible_value_is_taken(method: str, values: dict[str, object]) -> None:
    """What can be computed is not refused; nor is anything where no shape is known."""
    found = METHODS[method]
    params = found.params(backbone="efficientnet_lite0", **values)  # type: ignore[call-arg]
    layers = params.layers  # type: ignore[attr-defined]
    require_possible(found, params, Given(10, (64, 64), map_shapes("efficientnet_lite0", layers, ImageConfig(size=64))))
    require_possible(found, params, Given(10, (64, 64)))


@pytest.mark.parametrize(("backbone", "size"), [("resnet18", 64), ("efficientnet_lite0", (40, 90))])
def test_shapes_are_those_of_the_network(backbone: str, size: int | tuple[int, int]) -> None:
    """The table gives what the layers give."""
    image, layers = ImageConfig(size=size), tuple(NETWORKS[backbone])
    network = load_backbone(backbone, resolve_weights(backbone, "random"), layers, 0, torch.device("cpu"))
    found = network(torch.zeros(1, 3, *image.input_size))
    shapes = [(each.channels, each.height, each.width) for each in map_shapes(backbone, layers, image)]
    assert shapes == [tuple(each.shape[1:]) for each in found.values()]


# A method in a file, and the line that is told, None where it is the file's.
NO_LAYER = {
    "params": ("- method: knn\n  params: {backbone: resnet18, weights: WEIGHTS, layers: [layer1, nope]}\n", 6),
    "grid": (
        "- method: knn\n  params: {backbone: resnet18, weights: WEIGHTS}\n  grid: {layers: [[layer2], [nope]]}\n",
        7,
    ),
    "tune": (
        "- method: knn\n  params: {backbone: resnet18, weights: WEIGHTS}\n"
        "  tune: {space: {layers: {choices: [[layer4], [layer3, nope]]}}}\n",
        None,
    ),
}


@pytest.mark.parametrize("weights", ["random", "default"])
@pytest.mark.parametrize(("methods", "line"), NO_LAYER.values(), ids=NO_LAYER)
def test_a_layer_that_a_network_lacks_is_told_by_plan_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, methods: str, line: int | None, weights: str
) -> None:
    """With the layers that there are; also where the weights are not there, which are not fetched for it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no weights"))
    path = study(tmp_path, methods.replace("WEIGHTS", weights))
    for verb in ("plan", "run"):
        told = adloc("study", verb, path, "--workspace", tmp_path / "w", expect=2).stderr
        where = f"{path}:{line}" if line else str(path)
        assert told.startswith(f"{where}: backbone resnet18 has no layer 'nope'\n")
        assert "layer1, layer2, layer3, layer4" in told
        assert "no weights" not in told
    assert not list((tmp_path / "w").glob("store/*/*"))


def test_every_module_of_a_network_is_a_layer(tmp_path: Path) -> None:
    """One inside a stage is planned, without its network's weights."""
    methods = "- method: knn\n  params: {backbone: resnet18, weights: random, layers: [layer2.0.conv1, layer3]}\n"
    assert prepare(study(tmp_path, methods), [], Workspace(tmp_path / "w"), download=False).plan.runs
