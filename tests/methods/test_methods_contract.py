"""What every detector owes the study, held for each of those that are quick to make."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from adloc.methods import find_method, load_detector
from adloc.methods.detector import Rescoring
from detectors import HeldFeatures, HeldImages, draw_features, draw_images, take

if TYPE_CHECKING:
    from adloc.methods.method import Method

# Parameters that suit the small maps of `draw_features`, where the defaults do not.
SMALL: dict[str, dict[str, object]] = {
    "dfm": {"layers": ["layer2"]},
    "knn": {"layers": ["layer2", "layer3"]},
    "mahalanobis": {"layers": ["layer2", "layer3"]},
    "spade": {"layers": ["layer2", "layer3", "layer4"], "image_neighbours": 4},
    "softpatch": {"coreset_ratio": 0.2},
    "patchcore": {"coreset_ratio": 0.2},
    "floor": {},
    "uniad": {"layers": ["layer2", "layer3"], "epochs": 2, "width": 8, "mask_size": 3, "pool_size": 4},
}
Scores = dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]


@pytest.fixture(params=list(SMALL))
def method(request: pytest.FixtureRequest) -> Method:
    """Each of the methods."""
    return find_method(request.param)


@dataclass(frozen=True)
class Parts:
    """A train part of 20 images and a scored one of 5: features, or images."""

    train: HeldFeatures | HeldImages
    scored: HeldFeatures | HeldImages

    @classmethod
    def of(cls, method: Method) -> Parts:
        """Draw what the method reads."""
        draw = draw_images if method.reads == "images" else draw_features
        return cls(draw(20, seed=1), draw(5, seed=2))

    def at_most(self, largest: int) -> Parts:
        """The same, handed out so many at a time."""
        return Parts(replace(self.train, largest=largest), replace(self.scored, largest=largest))


def scores_of(method: Method, parts: Parts) -> Scores:
    """What the last step gives."""
    params = method.params.model_validate(SMALL[method.name])
    found = take(method, params, parts.train, parts.scored)["scores"].arrays
    return {name: np.asarray(each) for name, each in found.items()}


def test_scores_are_one_number_an_image(method: Method) -> None:
    """Image scores and maps are float32, finite, and one an image; a method without maps gives none."""
    found = scores_of(method, Parts.of(method))
    assert found["image_scores"].shape == (5,)
    assert ("patch_maps" in found) == method.maps
    if method.maps:
        assert found["patch_maps"].ndim == 3
        assert len(found["patch_maps"]) == 5
    for each in found.values():
        assert each.dtype == np.float32
        assert np.isfinite(each).all()


def test_bits_do_not_depend_on_how_images_are_read(method: Method) -> None:
    """One at a time, three or all at once: the same bits; an image alone has those that it has in a part."""
    parts = Parts.of(method)
    whole = scores_of(method, parts)
    for largest in (1, 3):
        again = scores_of(method, parts.at_most(largest))
        for name, each in whole.items():
            np.testing.assert_array_equal(again[name], each)
    alone = scores_of(method, Parts(parts.train, parts.scored.pick(3)))
    for name, each in whole.items():
        np.testing.assert_array_equal(alone[name], each[3:4])


def test_global_generators_are_left_alone(method: Method) -> None:
    """Nothing is drawn from the global generators, and what they hold changes nothing."""
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        found.append(scores_of(method, Parts.of(method)))
        assert torch.equal(torch.get_rng_state(), before)
    for name, each in found[0].items():
        np.testing.assert_array_equal(found[1][name], each)


def test_an_image_unlike_all_others_scores_highest(method: Method) -> None:
    """Higher is more anomalous, for the image and, in its map, for the place."""
    parts = Parts.of(method)
    scored = parts.scored
    for each in [scored.pixels] if isinstance(scored, HeldImages) else scored.maps.values():
        height, width = each.shape[-2:]
        each[2, :, : height // 2, : width // 2] += 3.0
    found = scores_of(method, parts)
    assert found["image_scores"].argmax() == 2
    if not method.maps:
        return
    row, column = np.unravel_index(found["patch_maps"][2].argmax(), found["patch_maps"].shape[1:])
    assert row < found["patch_maps"].shape[1] / 2
    assert column < found["patch_maps"].shape[2] / 2


def test_the_detector_has_every_step(method: Method) -> None:
    """The registry's entry leads to a class that computes each declared step under its name."""
    detector = load_detector(method)
    steps = method.steps + (() if method.leave_one_out is None else (method.leave_one_out,))
    assert all(callable(getattr(detector, step.name)) for step in steps)


def test_every_parameter_acts_in_a_step_or_in_the_maps(method: Method) -> None:
    """Each parameter beyond the backbone's is one that a key knows of, so no change goes unseen."""
    named = {name for step in method.steps for name in (*step.params, step.grows_with) if name} | set(method.map_params)
    assert named == set(method.params.model_fields) - {"backbone", "weights"}


def test_every_parameter_says_what_it_is(method: Method) -> None:
    """Each parameter has a description, a rule and a remedy for the study file's messages."""
    for name, parameter in method.params.model_fields.items():
        assert parameter.description, name
        assert isinstance(parameter.json_schema_extra, dict), name
        assert set(parameter.json_schema_extra) == {"rule", "remedy"}, name


def test_what_makes_scores_of_distances_can_be_left_out(method: Method) -> None:
    """A method that names plain values of its parameters accepts them, and can score again at them."""
    method.params.model_validate(dict(method.plain))
    assert isinstance(load_detector(method), Rescoring) == bool(method.plain)


def test_the_default_space_holds_valid_values(method: Method) -> None:
    """Every choice and both ends of every range are accepted, and the untuned value, the first trial, is among them."""
    untuned = method.params().model_dump(mode="json")
    for name, dimension in method.default_space.items():
        ends = [dimension.get("low"), dimension.get("high")]
        values = dimension.get("choices", ends)
        assert isinstance(values, list)
        for value in values:
            method.params.model_validate({name: value})
        assert untuned[name] in values or (values is ends and values[0] <= untuned[name] <= values[1])


def test_declarations_import_no_torch() -> None:
    """The planner reads every method's declaration without loading torch."""
    code = "import sys, adloc.methods; sys.exit(bool({'torch', 'faiss', 'anomalib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
