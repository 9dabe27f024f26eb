"""Backbones: which file holds the weights, what is refused, and that features are what they should be."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.models.efficientnet import EfficientNet
from torch import nn

from adloc.methods.backbone import BACKBONES, WeightsFile, find_backbone, hash_weights, resolve_weights
from adloc.methods.errors import MethodError
from adloc.methods.network import load_backbone
from adloc.methods.weights import read_state_dict, rename_by_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

CPU = torch.device("cpu")
RANDOM = resolve_weights("resnet18", "random", seed=7)
TORCHVISION = [name for name, backbone in BACKBONES.items() if backbone.source == "torchvision"]


@pytest.fixture
def images() -> Tensor:
    """Two noise images, not square."""
    return torch.rand((2, 3, 64, 96), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def write_state(tmp_path: Path) -> Callable[[dict[str, Tensor]], WeightsFile]:
    """Writes a .pth file and names it as a study would."""

    def write(state: dict[str, Tensor]) -> WeightsFile:
        path = tmp_path / "state.pth"
        torch.save(state, path)
        return resolve_weights("resnet18", str(path))

    return write


@pytest.fixture
def own_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an importable module with functions that return networks, or fail to."""
    (tmp_path / "own_networks.py").write_text(
        """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2)
        self.gain = nn.Linear(4, 4)
        self.second = nn.Conv2d(4, 5, 3, stride=2)
        self.head = nn.Linear(5, 2)
        self.unused = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        x = self.second(self.first(x) * self.gain.weight.sum())  # gain itself is never called
        return self.head(x.mean((2, 3)))

def net():
    return Net()

def text():
    return "net"

constant = 3
"""
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_networks", raising=False)
    return "own_networks"


def load_random(*layers: str, seed: int = 7) -> Callable[[Tensor], dict[str, Tensor]]:
    """ResNet-18 with random weights."""
    return load_backbone("resnet18", resolve_weights("resnet18", "random", seed=seed), layers, seed, CPU)


def resnet18(seed: int = 0) -> nn.Module:
    """Torchvision's network in evaluation mode, with batch norms that are no identity."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = torchvision.models.resnet18(weights=None)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.get_buffer("running_mean").uniform_(-1, 1)
                module.get_buffer("running_var").uniform_(0.5, 2)
    return network.eval()


def test_registry_imports_no_torch() -> None:
    """Planning with backbones and methods does not import torch."""
    code = "import sys, adloc.methods; print([m for m in ('torch', 'faiss', 'timm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_files(name: str) -> None:
    """The default file is the one that torchvision publishes as IMAGENET1K_V1."""
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    assert weights.url.rpartition("/")[2] == BACKBONES[name].file
    assert find_backbone(name).published in weights.url


def test_normalisation_is_the_publishers() -> None:
    """Images are normalised as torchvision's and timm's own transforms do it."""
    transform = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    assert (list(BACKBONES["resnet18"].mean), list(BACKBONES["resnet18"].std)) == (
        transform.mean,
        transform.std,
    )
    config = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert config is not None
    lite0 = BACKBONES["efficientnet_lite0"]
    assert (lite0.mean, lite0.std) == (config.mean, config.std)


def test_default_weights_are_found_where_torch_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is torch's: TORCH_HOME first, then XDG_CACHE_HOME, then ~/.cache."""
    file = BACKBONES["resnet18"].file
    for home, variable, below in (
        ("t", "TORCH_HOME", ""),
        ("x", "XDG_CACHE_HOME", "torch"),
        ("h", "HOME", ".cache/torch"),
    ):
        folder = tmp_path / home / below / "hub" / "checkpoints"
        folder.mkdir(parents=True)
        (folder / file).touch()
        monkeypatch.setenv(variable, str(tmp_path / home))
    found = []
    for variable in ("TORCH_HOME", "XDG_CACHE_HOME", "HOME"):
        path = resolve_weights("resnet18", "default").path
        assert path is not None
        assert path.parent == Path(torch.hub.get_dir()) / "checkpoints"
        found.append(path.relative_to(tmp_path).parts[0])
        monkeypatch.delenv(variable)
    assert found == ["t", "x", "h"]


@pytest.mark.parametrize("download", [False, True])
def test_missing_default_weights_are_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, download: bool
) -> None:
    """Without its file and without a network, the default says which file belongs where, and nothing loads."""

    def no_network(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MethodError) as caught:
        resolve_weights("resnet50", "default", download=download)
    error = caught.value
    assert str(tmp_path / "hub" / "checkpoints") in error.remedy
    assert "resnet50-0676ba61.pth" in error.remedy
    assert "weights: /path/to/" in error.remedy
    assert ("no route" in error.found) == download


def test_download_goes_into_torchs_folder_with_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing default is fetched from torchvision's address into torch's folder, its hash checked."""
    asked: dict[str, object] = {}

    def fetch(url: str, path: str, hash_prefix: str, *, progress: bool) -> None:
        asked.update(url=url, hash_prefix=hash_prefix, progress=progress)
        Path(path).touch()

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = resolve_weights("resnet18", "default", download=True).path
    assert path == tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    assert asked == {"url": url, "hash_prefix": "f37072fd", "progress": False}


def test_damaged_default_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A default file whose hash is not the published one is refused."""
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resnet18-f37072fd.pth").write_bytes(b"half a file")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(MethodError, match="published file begins with f37072fd"):
        hash_weights("resnet18", resolve_weights("resnet18", "default"))


def test_hash_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash of a named file is the SHA-256 of its bytes; ~ is the home folder."""
    (tmp_path / "own.pth").write_bytes(b"bytes")
    monkeypatch.setenv("HOME", str(tmp_path))
    weights = resolve_weights("resnet18", "~/own.pth")
    assert hash_weights("resnet18", weights) == hashlib.sha256(b"bytes").hexdigest()


def test_hash_of_random_weights() -> None:
    """Random weights are told apart by backbone and seed."""
    assert RANDOM.sha256 == hashlib.sha256(b"random:resnet18:7").hexdigest()


def test_lite0_comes_with_its_package() -> None:
    """EfficientNet-Lite0 finds its published weights without a download."""
    digest = hash_weights("efficientnet_lite0", resolve_weights("efficientnet_lite0", "default"))
    assert digest.startswith("57934424")


@pytest.mark.parametrize(
    ("backbone", "weights", "said"),
    [
        ("resnet5O", "default", "use resnet50"),
        ("resnet50", "imagenet", "default, random, or the path"),
        ("resnet50", "/nowhere/r50.pth", "no such file"),
        ("my.package:net", "random", "a function returns its network with its weights"),
    ],
)
def test_wrong_names(backbone: str, weights: str, said: str) -> None:
    """A name that means nothing is answered with what would."""
    with pytest.raises(MethodError, match=said):
        resolve_weights(backbone, weights)


def test_feature_maps_equal_a_plain_pass(
    images: Tensor, write_state: Callable[[dict[str, Tensor]], WeightsFile]
) -> None:
    """Features are those of torchvision's network fed with normalised images, on maps that are not square."""
    network = resnet18()
    extractor = load_backbone("resnet18", write_state(network.state_dict()), ("layer3", "layer1"), 0, CPU)
    found = extractor(images)
    transform = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (transform.mean, transform.std))
    with torch.no_grad():
        x = (images - mean) / std
        expected = {}
        for name, module in network.named_children():
            x = module(x)
            expected[name] = x
            if name == "layer3":
                break
    assert list(found) == ["layer3", "layer1"]
    assert found["layer1"].shape == (2, 64, 16, 24)
    assert found["layer3"].shape == (2, 256, 4, 6)
    for layer, maps in found.items():
        assert maps.dtype == torch.float32
        assert maps.is_contiguous()
        torch.testing.assert_close(maps, expected[layer], rtol=1e-4, atol=1e-4)


def test_network_is_frozen(images: Tensor) -> None:
    """Features carry no gradient, and do not depend on the rest of the batch: nothing is in training mode."""
    extractor = load_random("layer2")
    both = extractor(images)["layer2"]
    assert not both.requires_grad
    torch.testing.assert_close(both[:1], extractor(images[:1])["layer2"], rtol=1e-4, atol=1e-5)


def test_pass_ends_at_the_deepest_layer() -> None:
    """Modules behind the deepest layer asked for are not run."""
    extractor = load_backbone("resnet18", RANDOM, ("layer2", "layer1"), 7, CPU)
    entered = extractor.probe().entered
    assert {"conv1", "layer1.1.conv2", "layer2.1.bn2"} < entered
    assert not any(name.startswith(("layer3", "layer4", "fc", "avgpool")) for name in entered)


def test_layer_inside_a_block_is_not_overwritten(images: Tensor) -> None:
    """A dotted path gives the module's own output, though the ReLU behind it works in place."""
    features = load_random("layer1.0.conv1", "layer1.0.bn1")(images)
    assert features["layer1.0.bn1"].min() < 0
    # Freshly drawn, this batch norm divides by sqrt(1 + 1e-5) and does nothing else.
    torch.testing.assert_close(features["layer1.0.bn1"], features["layer1.0.conv1"] / (1 + 1e-5) ** 0.5)


def test_random_weights_depend_on_the_seed_alone(images: Tensor) -> None:
    """Random weights are the same for the same seed, others for another, and the global generator stays put."""
    before = torch.get_rng_state()
    first, again, other = (load_random("layer1", seed=seed)(images)["layer1"] for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_unknown_layer() -> None:
    """A layer that does not exist is answered with the nearest names."""
    with pytest.raises(MethodError, match="layer2") as caught:
        load_random("layr2")
    assert "layer1, layer2" in caught.value.rule


def test_trunk_file_serves_the_layers_it_holds(trunk_weights: Path) -> None:
    """A file of conv1 to layer3 loads for layer2 and layer3, and gives finite features."""
    weights = resolve_weights("resnet18", str(trunk_weights))
    features = load_backbone("resnet18", weights, ("layer2", "layer3"), 0, CPU)(torch.rand(1, 3, 64, 64))
    assert all(maps.isfinite().all() for maps in features.values())


def test_trunk_file_is_refused_for_deeper_layers(trunk_weights: Path) -> None:
    """The same file is refused for layer4: it is never filled up with random weights."""
    weights = resolve_weights("resnet18", str(trunk_weights))
    with pytest.raises(MethodError, match=r"lacks layer4\.0\.conv1\.weight.*more"):
        load_backbone("resnet18", weights, ("layer2", "layer4"), 0, CPU)


def test_a_classifier_of_other_classes_does_not_matter(
    images: Tensor, write_state: Callable[[dict[str, Tensor]], WeightsFile]
) -> None:
    """A fine-tuned network's file loads though its classifier differs in shape or has more parts."""
    state = resnet18().state_dict()
    plain = load_backbone("resnet18", write_state(state), ("layer3",), 0, CPU)(images)["layer3"]
    state["fc.weight"] = torch.zeros(10, 512)
    state["fc.2.weight"] = torch.zeros(10, 10)
    tuned = load_backbone("resnet18", write_state(state), ("layer3",), 0, CPU)(images)["layer3"]
    assert torch.equal(plain, tuned)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("layer1.0.bn1.bias"), r"lacks layer1\.0\.bn1\.bias"),
        (
            lambda s: s.update({"layer1.2.conv1.weight": torch.zeros(1)}),
            r"network has no layer1\.2\.conv1\.weight",
        ),
        (lambda s: s.update({"extra": torch.zeros(1)}), "network has no extra"),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(64, 1, 7, 7)}),
            r"conv1\.weight has shape \(64, 1, 7, 7\), the network \(64, 3, 7, 7\)",
        ),
        (lambda s: s.update({"epoch": 3}), "not a state dict"),
    ],
)
def test_files_that_do_not_fit(
    change: Callable[[dict[str, object]], object],
    said: str,
    write_state: Callable[[dict[str, object]], WeightsFile],
) -> None:
    """A file is refused for each way in which it is not the network's, and the tensor is named."""
    state: dict[str, object] = dict(resnet18().state_dict())
    change(state)
    with pytest.raises(MethodError, match=said):
        load_backbone("resnet18", write_state(state), ("layer2",), 0, CPU)


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_broken_file(tmp_path: Path, name: str) -> None:
    """A file that does not load is the user's to mend, not a traceback."""
    (tmp_path / name).write_bytes(b"not a weight file at all")
    weights = resolve_weights("resnet18", str(tmp_path / name))
    with pytest.raises(MethodError, match="does not load"):
        load_backbone("resnet18", weights, ("layer1",), 0, CPU)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    """A pickle that would call something is refused."""
    torch.save({"conv1.weight": Path("x")}, tmp_path / "code.pth")
    weights = resolve_weights("resnet18", str(tmp_path / "code.pth"))
    with pytest.raises(MethodError, match="does not load"):
        load_backbone("resnet18", weights, ("layer1",), 0, CPU)


@pytest.fixture(scope="module")
def lite0_by_hand() -> EfficientNet:
    """Timm's network with the package's weights."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    assert isinstance(network, EfficientNet)
    path = resolve_weights("efficientnet_lite0", "default").path
    assert path is not None
    network.load_state_dict(rename_by_order(read_state_dict(path), network, path))
    network.eval()
    return network


def test_lite0_recognises_what_it_sees(lite0_by_hand: EfficientNet) -> None:
    """The package's weights, mapped by order, classify a cat as a cat and a cup of coffee as one."""
    from skimage import data

    # ImageNet's tabby, tiger cat and Egyptian cat; mug, espresso and cup.
    cats, cups = {281, 282, 285}, {504, 967, 968}
    for name, classes in (("cat", cats), ("coffee", cups)):
        picture = getattr(data, name)()
        pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
        side = min(pixels.shape[-2:])
        square = torchvision.transforms.functional.center_crop(pixels, [side, side])
        small = nn.functional.interpolate(square, size=(224, 224), mode="bilinear", antialias=True)
        with torch.no_grad():
            assert int(lite0_by_hand((small - 0.5) / 0.5).argmax()) in classes


def test_lite0_layers(images: Tensor, lite0_by_hand: EfficientNet) -> None:
    """layer1 to layer4 of EfficientNet-Lite0 are its blocks of stride 4, 8, 16 and 32, on normalised images."""
    layers = ("layer1", "layer2", "layer3", "layer4")
    weights = resolve_weights("efficientnet_lite0", "default")
    found = load_backbone("efficientnet_lite0", weights, layers, 0, CPU)(images)
    assert [tuple(maps.shape) for maps in found.values()] == [
        (2, 24, 16, 24),
        (2, 40, 8, 12),
        (2, 112, 4, 6),
        (2, 320, 2, 3),
    ]
    with torch.no_grad():
        _, maps = lite0_by_hand.forward_intermediates((images - 0.5) / 0.5)
    for layer, expected in zip(layers, maps[1:], strict=True):
        torch.testing.assert_close(found[layer], expected, rtol=1e-4, atol=1e-4)


def test_lite0_file_in_another_order_is_refused(tmp_path: Path) -> None:
    """A file mapped by order is checked entry by entry."""
    path = resolve_weights("efficientnet_lite0", "default").path
    assert path is not None
    entries = list(read_state_dict(path).items())
    entries[6], entries[7] = entries[7], entries[6]
    torch.save(dict(entries), tmp_path / "swapped.pth")
    weights = resolve_weights("efficientnet_lite0", str(tmp_path / "swapped.pth"))
    with pytest.raises(MethodError, match="stands where"):
        load_backbone("efficientnet_lite0", weights, ("layer1",), 0, CPU)


def test_own_network(own_networks: str, images: Tensor) -> None:
    """A function's network gives features with the weights it brings, whose hash is the same every time."""
    backbone = f"{own_networks}:net"
    weights = resolve_weights(backbone, "default")
    assert hash_weights(backbone, weights) == hash_weights(backbone, weights)
    first, again = (load_backbone(backbone, weights, ("second",), 0, CPU)(images)["second"] for _ in range(2))
    assert first.shape == (2, 5, 15, 23)
    assert torch.equal(first, again)


def test_own_network_is_known_by_its_code_too(own_networks: str, tmp_path: Path) -> None:
    """Another way through the same weights gives other features, so it has another hash."""
    backbone, source = f"{own_networks}:net", tmp_path / f"{own_networks}.py"
    weights = resolve_weights(backbone, "default")
    before = hash_weights(backbone, weights)
    code = source.read_text()
    source.write_text(code.replace("self.first(x) *", "self.first(x).relu() *"))
    assert source.read_text() != code
    assert hash_weights(backbone, weights) != before
    source.write_text(code)
    assert hash_weights(backbone, weights) == before


def test_own_network_with_a_file(own_networks: str, tmp_path: Path, images: Tensor) -> None:
    """A function's network takes the weights of a file."""
    from own_networks import Net  # type: ignore[import-not-found]

    network = Net()
    save_file(network.state_dict(), tmp_path / "own.safetensors")
    weights = resolve_weights(f"{own_networks}:net", str(tmp_path / "own.safetensors"))
    found = load_backbone(f"{own_networks}:net", weights, ("first",), 0, CPU)(images)["first"]
    mean, std = (
        torch.tensor(each).view(1, 3, 1, 1) for each in (BACKBONES["resnet18"].mean, BACKBONES["resnet18"].std)
    )
    torch.testing.assert_close(found, network.first((images - mean) / std).detach())


def test_weights_used_without_calling_their_module_are_needed(own_networks: str, tmp_path: Path) -> None:
    """A file is refused that lacks a tensor which the pass reads from a module that it does not call."""
    from own_networks import Net

    state = Net().state_dict()
    del state["gain.weight"]
    save_file(state, tmp_path / "own.safetensors")
    weights = resolve_weights(f"{own_networks}:net", str(tmp_path / "own.safetensors"))
    with pytest.raises(MethodError, match=r"lacks gain\.weight"):
        load_backbone(f"{own_networks}:net", weights, ("second",), 0, CPU)


@pytest.mark.parametrize(
    ("function", "layer", "said"),
    [
        ("nett", "first", "use own_networks:net"),
        ("constant", "first", "is not callable"),
        ("text", "first", "returned str"),
        ("net", "secnd", "use second"),
        ("net", "head", r"gives \(1, 2\)"),
        ("net", "unused", "is not reached"),
    ],
)
def test_own_network_that_does_not_serve(own_networks: str, function: str, layer: str, said: str) -> None:
    """What is wrong with a function, or with a layer of its network, is said with the way out."""
    weights = resolve_weights(f"{own_networks}:{function}", "default")
    with pytest.raises(MethodError, match=said):
        load_backbone(f"{own_networks}:{function}", weights, (layer,), 0, CPU)(torch.rand(1, 3, 32, 32))


def test_module_that_is_not_there() -> None:
    """A function of a module that cannot be imported is refused by name."""
    backbone = "no_such_package.nets:build"
    with pytest.raises(MethodError, match="No module named 'no_such_package'"):
        load_backbone(backbone, resolve_weights(backbone, "default"), ("layer1",), 0, CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_features_of_a_gpu_are_those_of_the_cpu(images: Tensor) -> None:
    """To float32's rounding: TF32, cuDNN's default, would leave 6e-4 and move whole coresets."""
    layers = ["layer1", "layer2", "layer3"]
    cpu = load_backbone("resnet18", RANDOM, layers, 0, CPU)(images)
    cuda = load_backbone("resnet18", RANDOM, layers, 0, torch.device("cuda"))(images)
    for layer in layers:
        assert (cuda[layer].cpu() - cpu[layer]).norm() < 1e-5 * cpu[layer].norm()
