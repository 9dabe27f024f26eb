"""anomalib's models as methods: what is declared, whose weights they see through, and trainings that repeat."""

from __future__ import annotations

import inspect
import random
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from adloc.methods import MethodError, load_detector
from adloc.methods.anomalib.catalogue import MODELS
from adloc.methods.anomalib.params import ANOMALIB, AnomalibParams
from adloc.methods.backbone import BACKBONES, resolve_weights
from adloc.methods.detector import ImageContext
from detectors import CPU, HeldImages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from adloc.methods.detector import Result

OF_VIDEOS = {"AiVad", "Fuvas"}
SMALL = AnomalibParams(model="Stfpm", backbone="resnet18", weights="random", epochs=3, batch_size=4)


def draw(n_images: int, seed: int) -> HeldImages:
    """Noise of 64 x 64 pixels in 256 levels, as of 8 bits."""
    generator = torch.Generator().manual_seed(seed)
    return HeldImages(torch.randint(256, (n_images, 3, 64, 64), generator=generator).float() / 255)


TRAIN, TEST = draw(10, seed=1), draw(11, seed=2)


def fit(
    params: AnomalibParams = SMALL,
    scratch: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    weights: Path | None = None,
    images: HeldImages = TRAIN,
) -> Result:
    """The training step."""
    context = ImageContext(params, images, {}, 7, CPU, weights, scratch=scratch)
    if progress is not None:
        context = replace(context, progress=progress)
    return load_detector(ANOMALIB).training(context)  # type: ignore[attr-defined, no-any-return]


def score(trained: Result, images: HeldImages, params: AnomalibParams = SMALL, weights: Path | None = None) -> Result:
    """The score step."""
    context = ImageContext(params, images, {"training": trained}, 7, CPU, weights)
    return load_detector(ANOMALIB).scores(context)  # type: ignore[attr-defined, no-any-return]


def same_bits(one: Result, other: Result) -> None:
    """Every array of two results is the same."""
    assert one.arrays.keys() == other.arrays.keys()
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name], err_msg=name)


def test_declaration_loads_neither_torch_nor_anomalib() -> None:
    """Planning a study with a model of anomalib takes no import of it."""
    code = (
        "import sys, adloc.methods.registry; "
        "sys.exit(bool({'torch', 'anomalib', 'lightning', 'timm'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


@pytest.mark.slow
def test_catalogue_is_the_installed_librarys() -> None:
    """Every image model is there by its class, and its backbone is the class's own default where adloc knows that."""
    from anomalib.models.components.base import AnomalibModule

    from anomalib import models

    classes = {
        name: found
        for name, found in vars(models).items()
        if inspect.isclass(found) and issubclass(found, AnomalibModule) and found is not AnomalibModule
    }
    assert set(MODELS) == set(classes) - OF_VIDEOS
    for name, model in MODELS.items():
        taken = inspect.signature(classes[name].__init__).parameters
        backbone = taken.get("backbone", taken.get("teacher_backbone"))
        if backbone is not None and str(backbone.default).partition(".")[0] in BACKBONES:
            assert model.backbone == str(backbone.default).partition(".")[0], name
        if not model.backbone:
            assert backbone is None or str(backbone.default).partition(".")[0] not in BACKBONES, name


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"model": "Stpfm"}, "must be one of"),
        ({"model": "Stfpm", "backbone": "resnet19"}, "must be one of"),
        ({"model": "Stfpm", "backbone": "os:system"}, "by name"),
        ({"model": "Stfpm", "backbone": "vit_small_patch14_dinov2", "weights": "random"}, "must be one of"),
        ({"model": "Ganomaly", "backbone": "resnet18"}, "takes no backbone"),
        ({"model": "Stfpm", "weights": "w.zip"}, "must be default, random"),
        ({"model": "Stfpm", "epochs": 0}, "from 1 to 10000"),
        ({"model": "Stfpm", "epochs": 2.5}, "from 1 to 10000"),
        ({"model": "Stfpm", "arguments": {"pre_trained": False}}, "sets pre_trained itself"),
    ],
)
def test_wrong_parameters_are_answered_by_their_rule(values: dict[str, object], rule: str) -> None:
    """Each mistake is refused with the rule that it breaks, before anything is imported."""
    with pytest.raises(ValidationError, match=rule):
        AnomalibParams.model_validate(values)


def test_the_models_own_backbone_stands_in_the_record() -> None:
    """What is not said is filled in, so that a record shows what was seen through."""
    assert AnomalibParams.model_validate({"model": "ReverseDistillation"}).backbone == "wide_resnet50_2"
    assert AnomalibParams.model_validate({"model": "Ganomaly"}).backbone is None


@pytest.mark.slow
def test_networks_see_through_the_weights_that_are_lent(trunk_weights: Path) -> None:
    """The frozen teacher holds the file's tensors; the student does not; the library is given back as it was."""
    import timm
    from safetensors.torch import load_file

    from adloc.methods.anomalib.library import build

    create = timm.create_model
    module = build(SMALL, (64, 64), trunk_weights)
    assert timm.create_model is create
    state, file = module.model.state_dict(), load_file(trunk_weights)
    name = "layer2.0.conv1.weight"
    teacher, student = (
        next(value for key, value in state.items() if key.startswith(side) and key.endswith(name))
        for side in ("teacher", "student")
    )
    assert torch.equal(teacher, file[name])
    assert not torch.equal(student, file[name])


@pytest.mark.slow
def test_lite0_sees_as_adlocs_own_network_does() -> None:
    """The package's file, whose tensors have other names, gives the features that adloc reads itself."""
    from adloc.methods.anomalib.lent_weights import lend_weights
    from adloc.methods.network import load_backbone

    file = resolve_weights("efficientnet_lite0", "default")
    import timm

    with lend_weights("Stfpm", "efficientnet_lite0", file.path):
        network = timm.create_model("efficientnet_lite0", pretrained=True, features_only=True).eval()
    own = load_backbone("efficientnet_lite0", file, ["layer1", "layer2"], 0, CPU)
    images = TEST.pixels[:2]
    with torch.no_grad():
        theirs = network((images - 0.5) / 0.5)
    assert torch.allclose(theirs[1], own(images)["layer1"], rtol=1e-4, atol=1e-4)
    assert torch.allclose(theirs[2], own(images)["layer2"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_other_weights_are_refused_by_name() -> None:
    """A network that nobody resolved the weights of is not fetched."""
    params = AnomalibParams(model="AnomalyDINO")
    with pytest.raises(MethodError, match="asks for the weights of vit_small_patch14_dinov2") as refused:
        fit(params)
    assert "backbone: vit_small_patch14_dinov2, weights: /path/to/" in refused.value.remedy


@pytest.mark.slow
def test_a_transformers_weights_may_come_as_a_file(tmp_path: Path) -> None:
    """A network that adloc does not know by name is lent the file that the study names, tensor by tensor."""
    import timm
    from safetensors.torch import save_file

    from adloc.methods.anomalib.library import build

    name, path = "vit_small_patch14_dinov2", tmp_path / "dino.safetensors"
    state = timm.create_model(name, pretrained=False).state_dict()
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    params = AnomalibParams(model="AnomalyDINO", backbone=name, weights=str(path))
    images = HeldImages(torch.rand(4, 3, 56, 56, generator=torch.Generator().manual_seed(1)))
    held = build(params, (56, 56), path).model.state_dict()
    tensor = "blocks.3.attn.qkv.weight"
    assert torch.equal(next(value for key, value in held.items() if key.endswith(tensor)), state[tensor])
    found = score(fit(params, weights=path, images=images), images, params, path)
    np.testing.assert_allclose(found.arrays["image_scores"], 0, atol=1e-3)  # its bank holds these very images


@pytest.mark.slow
def test_a_file_without_what_is_looked_through_is_refused(trunk_weights: Path) -> None:
    """The trunk ends at layer3: a model that looks at layer4 says which tensor is missing."""
    params = AnomalibParams(model="Dfkde", backbone="resnet18", weights=str(trunk_weights))
    with pytest.raises(MethodError, match=r"layer4\.\S+ is missing"):
        fit(params, weights=trunk_weights)


@pytest.mark.slow
def test_an_unknown_argument_is_answered_with_those_there_are() -> None:
    """A slip in `arguments` is found when the class is made, with its own arguments."""
    params = SMALL.model_copy(update={"arguments": {"layer": ["layer1"]}})
    with pytest.raises(MethodError, match="no argument layer") as refused:
        fit(params)
    assert "layers" in refused.value.rule


@pytest.mark.slow
def test_a_download_is_refused_with_the_place_of_the_file() -> None:
    """A model that would fetch its own weights names the file and where to put it."""
    with pytest.raises(MethodError, match=r"Dsr asks for https?://") as refused:
        fit(AnomalibParams(model="Dsr", epochs=1))
    assert re.search(r"put that file at /\S+/dsr\S+\.zip", refused.value.remedy)


@pytest.mark.slow
def test_a_training_repeats_to_the_bit_and_leaves_the_generators_alone() -> None:
    """The seed decides everything, whatever state the process is in; and that state stays."""
    random.seed(1)
    torch.manual_seed(1)
    first = fit()
    drawn = random.random(), torch.rand(1).item()  # noqa: S311
    random.seed(1)
    torch.manual_seed(1)
    assert drawn == (random.random(), torch.rand(1).item())  # noqa: S311
    torch.manual_seed(99)
    same_bits(first, fit())


class _KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "params",
    [
        SMALL,
        AnomalibParams(model="ReverseDistillation", backbone="resnet18", weights="random", epochs=3, batch_size=4),
        AnomalibParams(model="Fastflow", backbone="resnet18", weights="random", epochs=3, batch_size=4),
        AnomalibParams(model="Fre", backbone="resnet18", weights="random", epochs=3, batch_size=4),
    ],
    ids=lambda params: params.model,
)
def test_a_training_that_is_cut_off_goes_on_to_the_same_bytes(params: AnomalibParams, tmp_path: Path) -> None:
    """After two of three epochs the checkpoint of the first is there; from it the last two are done again."""
    undisturbed = fit(params)
    told: list[tuple[int, int]] = []

    def die(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise _KilledError

    with pytest.raises(_KilledError):
        fit(params, tmp_path, die)
    assert told == [(1, 3), (2, 3)]
    assert (tmp_path / "last.ckpt").is_file()
    again: list[tuple[int, int]] = []
    resumed = fit(params, tmp_path, lambda done, total: again.append((done, total)))
    assert again == [(2, 3), (3, 3)]  # the first epoch was not done again
    same_bits(undisturbed, resumed)


@pytest.mark.slow
def test_an_image_scores_the_same_in_any_company() -> None:
    """One image's score and map have the same bits alone and among others."""
    trained = fit(SMALL.model_copy(update={"epochs": 1}))
    together = score(trained, TEST)
    assert together.arrays["image_scores"].shape == (11,)
    assert together.arrays["patch_maps"].shape == (11, 64, 64)
    for image in (0, 8, 10):
        alone = score(trained, TEST.pick(image))
        for name in together.arrays:
            np.testing.assert_array_equal(alone.arrays[name][0], together.arrays[name][image])


@pytest.mark.slow
def test_scores_are_the_torch_models_own() -> None:
    """What comes out is the model's pred_score and anomaly_map, as it gives them before any post-processing."""
    from anomalib.models import Stfpm

    from adloc.methods.anomalib.library import build
    from adloc.methods.anomalib.training import own_randomness

    params = SMALL.model_copy(update={"epochs": 1})
    trained = fit(params)
    with own_randomness(7):
        module = build(params, (64, 64), None)
    assert isinstance(module, Stfpm)
    state = module.model.state_dict()
    module.model.load_state_dict(
        state | {k: torch.from_numpy(v).reshape(state[k].shape) for k, v in trained.arrays.items()}
    )
    mean, std = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    with torch.no_grad():
        found = module.model.eval()((TEST.pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1))
    mine = score(trained, TEST, params)
    np.testing.assert_allclose(mine.arrays["image_scores"], found.pred_score.flatten(), rtol=1e-4)
    np.testing.assert_allclose(mine.arrays["patch_maps"], found.anomaly_map.squeeze(1), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_a_model_without_maps_gives_none() -> None:
    """GANomaly scores whole images."""
    params = AnomalibParams(model="Ganomaly", epochs=1, batch_size=4, arguments={"n_features": 8})
    found = score(fit(params), TEST, params)
    assert set(found.arrays) == {"image_scores"}


@pytest.mark.slow
def test_kept_is_what_training_changed_and_not_the_backbone() -> None:
    """Of the student-teacher pair the teacher, which is frozen, is no part of the model's size."""
    trained = fit(SMALL.model_copy(update={"epochs": 1}))
    assert trained.arrays
    assert all(name.startswith("student") for name in trained.arrays)
    assert load_detector(ANOMALIB).model_bytes({"training": trained}, SMALL) == sum(
        array.nbytes for array in trained.arrays.values()
    )
