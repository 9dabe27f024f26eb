"""Networks run by ONNX Runtime and OpenVINO: torch's features, with the same bits however they pass."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

import onnx
import pytest
import torch

from adloc.methods.backbone import resolve_weights
from adloc.methods.engines.engine import TORCH, Engine, find_engine
from adloc.methods.engines.extractor import open_file
from adloc.methods.engines.onnx_file import convert, hold_against, write_onnx
from adloc.methods.engines.open_vino import OpenVinoExtractor
from adloc.methods.errors import MethodError
from adloc.methods.network import load_backbone

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from adloc.methods.engines.engine import EngineName
    from adloc.methods.engines.extractor import Extractor
    from adloc.methods.network import FeatureExtractor

CPU = torch.device("cpu")
SIZE = (64, 96)
LAYERS = ("layer3", "layer1")  # not in the order in which a pass reaches them
CONVERTED: tuple[EngineName, ...] = ("onnx", "openvino")


def by_torch(backbone: str, weights: str = "random", layers: tuple[str, ...] = LAYERS) -> FeatureExtractor:
    """A network as a study loads it."""
    return load_backbone(backbone, resolve_weights(backbone, weights, seed=3), layers, 3, CPU)


@cache
def converted(backbone: str, weights: str = "random") -> bytes:
    """The same, converted; once for all tests, for it takes seconds."""
    return convert(by_torch(backbone, weights), SIZE)


def noise(n_images: int, seed: int = 5) -> Tensor:
    """Images of noise."""
    return torch.rand((n_images, 3, *SIZE), generator=torch.Generator().manual_seed(seed))


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """The same layers in the same order, and features that differ by float32's rounding alone, carried through."""
    assert list(found) == list(expected)
    for layer, maps in expected.items():
        assert found[layer].dtype == torch.float32
        assert found[layer].shape == maps.shape
        assert float((found[layer] - maps).abs().max()) <= 1e-5 * float(maps.abs().max())


@pytest.fixture(scope="module")
def resnet18() -> FeatureExtractor:
    """By torch, with random weights."""
    return by_torch("resnet18")


@pytest.fixture(scope="module")
def written(resnet18: FeatureExtractor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network, converted."""
    path = tmp_path_factory.mktemp("converted") / "resnet18.onnx"
    write_onnx(resnet18, path, SIZE)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_features_are_torchs(resnet18: FeatureExtractor, written: Path, engine: EngineName) -> None:
    """Of images that are not square, by the file's path or its bytes."""
    for file in (written, written.read_bytes()):
        network = open_file(engine, file, LAYERS, 1, 1)
        assert_alike(network(noise(3)), resnet18(noise(3)))
        assert network.layers == LAYERS
        assert network.device == CPU


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "wide_resnet50_2", "efficientnet_lite0"])
def test_a_backbone_of_each_family_converts(backbone: str) -> None:
    """With random weights: basic and bottleneck blocks, and timm's padding; each engine is held against torch."""
    expected = by_torch(backbone)(noise(2))
    for engine in CONVERTED:
        assert_alike(open_file(engine, converted(backbone), LAYERS, 1, 1)(noise(2)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_published_weights_convert(trunk_weights: Path, engine: EngineName) -> None:
    """Those inside EfficientNet-Lite0's package, and ResNet-18's, which end at layer3."""
    for backbone, weights in (("efficientnet_lite0", "default"), ("resnet18", str(trunk_weights))):
        network = open_file(engine, converted(backbone, weights), LAYERS, 1, 1)
        assert_alike(network(noise(2)), by_torch(backbone, weights)(noise(2)))


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
@pytest.mark.parametrize("backbone", ["resnet18", "efficientnet_lite0"])
def test_an_image_has_the_same_bits_however_it_passes(backbone: str, engine: EngineName) -> None:
    """In any batch, on any number of threads, and in several passes at the same time."""
    file, images = converted(backbone), noise(8)
    expected = open_file(engine, file, LAYERS, 1, 1)(images)

    def assert_same(found: dict[str, Tensor], start: int) -> None:
        for layer, maps in found.items():
            assert torch.equal(maps, expected[layer][start : start + len(maps)]), layer

    for n_threads in (1, 2, 3):
        network = open_file(engine, file, LAYERS, n_threads, 1)
        for batch in (1, 2, 5):
            assert_same(network(images[:batch]), 0)
    network = open_file(engine, file, LAYERS, 1, 3)
    with ThreadPoolExecutor(3) as pool:
        for start, found in enumerate(pool.map(network, images.split(1))):
            assert_same(found, start)


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_results_of_a_pass_outlive_the_next(written: Path, engine: EngineName) -> None:
    """An engine that lends its buffers would overwrite them."""
    network = open_file(engine, written, LAYERS, 1, 1)
    first = network(noise(1))
    kept = first["layer1"].clone()
    network(noise(1, seed=6))
    assert torch.equal(first["layer1"], kept)


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_some_of_the_layers(resnet18: FeatureExtractor, written: Path, engine: EngineName) -> None:
    """A file gives those asked for; one that it was not converted with is refused."""
    assert_alike(open_file(engine, written, ["layer1"], 1, 1)(noise(2)), {"layer1": resnet18(noise(2))["layer1"]})
    with pytest.raises(MethodError, match=r"no layer layer2\n.*layer3, layer1"):
        open_file(engine, written, ["layer2"], 1, 1)


@pytest.mark.slow
def test_the_file_ends_at_the_deepest_layer() -> None:
    """ResNet-18 has 3 x 64 x 49 + 4 x 64 x 64 x 9 weights in its convolutions up to layer1, and 11 million in all."""
    model = onnx.load_from_string(convert(by_torch("resnet18", layers=("layer1",)), SIZE))
    kernels = [torch.Size(tensor.dims) for tensor in model.graph.initializer if len(tensor.dims) == 4]
    assert sum(kernel.numel() for kernel in kernels if kernel.numel() > 3) == 3 * 64 * 49 + 4 * 64 * 64 * 9
    assert [output.name for output in model.graph.output] == ["layer1"]


@pytest.mark.slow
def test_openvino_computes_in_float32(written: Path) -> None:
    """Left to itself it takes bfloat16 where the processor has it."""
    compiled = OpenVinoExtractor(written, LAYERS)._compiled
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_images_of_another_size_are_refused(written: Path, engine: EngineName) -> None:
    """With both sizes and what to do."""
    network = open_file(engine, written, LAYERS, 1, 1)
    with pytest.raises(MethodError, match=r"\(1, 3, 96, 64\).*64 x 96 pixels\n.*\n.*convert it again"):
        network(torch.zeros(1, 3, 96, 64))


@pytest.mark.parametrize("engine", CONVERTED)
def test_a_damaged_file_is_refused(tmp_path: Path, engine: EngineName) -> None:
    """Whatever the engine says of it: no file, an empty one, one of something else."""
    empty = tmp_path / "empty.onnx"
    empty.touch()
    for file in (tmp_path / "absent.onnx", empty, b"no network"):
        with pytest.raises(MethodError, match="does not load in"):
            open_file(engine, file, LAYERS, 1, 1)


@pytest.mark.slow
def test_another_network_is_noticed(resnet18: FeatureExtractor, written: Path) -> None:
    """A converted network is held against torch's: with other weights the features are other ones."""
    network = open_file("onnx", written, LAYERS, 1, 1)
    hold_against(network, resnet18, SIZE)
    other = load_backbone("resnet18", resolve_weights("resnet18", "random", seed=4), LAYERS, 4, CPU)
    with pytest.raises(MethodError, match="differs from torch's by"):
        hold_against(network, other, SIZE)


def test_an_infinite_difference_is_noticed(resnet18: FeatureExtractor) -> None:
    """NaN is no feature of torch's."""

    class Broken:
        layers, device = LAYERS, CPU

        def __call__(self, images: Tensor) -> dict[str, Tensor]:
            return {layer: maps * float("nan") for layer, maps in resnet18(images).items()}

    broken: Extractor = Broken()
    with pytest.raises(MethodError, match="by nan"):
        hold_against(broken, resnet18, SIZE)


@pytest.fixture
def own_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with functions that return networks."""
    (tmp_path / "networks_to_convert.py").write_text(
        """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, branches=False, fixed=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 5, 3, stride=2)
        self.act = nn.ReLU(inplace=True)
        self.branches, self.fixed = branches, fixed

    def forward(self, x):
        x = self.first(x)
        if self.branches and x.mean() > 0:
            x = x + 1
        if self.fixed:
            x = x.reshape(2, *x.shape[1:])
        return self.second(self.act(x))

def net():
    return Net()

def branching():
    return Net(branches=True)

def batch_of_two():
    return Net(fixed=True)
"""
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "networks_to_convert", raising=False)
    return "networks_to_convert"


@pytest.mark.slow
@pytest.mark.parametrize("engine", CONVERTED)
def test_an_own_network_converts(own_networks: str, engine: EngineName) -> None:
    """By its layers' paths; a layer's output is what it was before the next one worked in place."""
    extractor = by_torch(f"{own_networks}:net", "default", ("first", "second"))
    found = open_file(engine, convert(extractor, SIZE), ("first", "second"), 1, 1)(noise(3))
    assert float(found["first"].min()) < 0
    assert_alike(found, extractor(noise(3)))


@pytest.mark.slow
@pytest.mark.parametrize("function", ["branching", "batch_of_two"])
def test_what_torch_cannot_export_is_refused(own_networks: str, function: str) -> None:
    """A branch on values, a batch of one length alone: with what torch says, and the way out."""
    extractor = by_torch(f"{own_networks}:{function}", "default", ("first", "second"))
    with pytest.raises(MethodError, match=r"cannot be converted to ONNX \(\w+: .+\)\n.*\n.*use engine: torch"):
        convert(extractor, SIZE)


@pytest.mark.slow
def test_a_network_bears_torchs_passes_after_it_was_converted(own_networks: str) -> None:
    """A pass still ends at the deepest layer asked for."""
    extractor = by_torch(f"{own_networks}:net", "default", ("first",))
    before = extractor(noise(2))
    convert(extractor, SIZE)
    reached: list[object] = []
    extractor._network.get_submodule("second").register_forward_hook(lambda *_: reached.append(1))
    assert torch.equal(extractor(noise(2))["first"], before["first"])
    assert not reached


@pytest.mark.slow
def test_a_file_is_replaced_whole_or_not_at_all(own_networks: str, tmp_path: Path) -> None:
    """What cannot be converted leaves the old file; nothing is left aside."""
    path = tmp_path / "files" / "own.onnx"
    write_onnx(by_torch(f"{own_networks}:net", "default", ("first",)), path, SIZE)
    before = path.read_bytes()
    with pytest.raises(MethodError):
        write_onnx(by_torch(f"{own_networks}:batch_of_two", "default", ("first",)), path, SIZE)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_engines_have_the_versions_that_compute() -> None:
    """Torch has none: keys are older than the other engines."""
    assert find_engine("torch") == TORCH
    assert find_engine("onnx") == Engine("onnx", metadata.version("onnxruntime"))
    assert find_engine("openvino") == Engine("openvino", metadata.version("openvino"))


@pytest.mark.parametrize("engine", CONVERTED)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, engine: EngineName) -> None:
    """Before anything is read or converted."""

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("adloc.methods.engines.engine.version", absent)
    for ask in (lambda: find_engine(engine), lambda: open_file(engine, b"", LAYERS, 1, 1)):
        with pytest.raises(MethodError, match=r"is not installed\n.*\n.*pip install 'adloc\[engines\]'"):
            ask()
    assert find_engine("torch") == TORCH
