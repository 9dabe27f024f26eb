"""What a study's set-up does not allow to be said: each sentence from counts and settings that are known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adloc.answer.limitations import FIXED, find_limitations
from adloc.study_file.axes import StudyShift
from adloc.thresholds import ThresholdConfig
from handmade import finding, images, material, setting

TOGETHER = (
    "The transforms act together: no figure says which of them hurts, and none is of a change measured on a production "
    "line."
)


class Part(list[Any]):
    """A part of so many normal and anomalous samples."""

    def __init__(self, normal: int, anomalous: int = 0) -> None:
        """Labels alone."""
        super().__init__(SimpleNamespace(label=label) for label in [0] * normal + [1] * anomalous)
        self.samples = tuple(self)


def parts(train: int, validation: tuple[int, int], test: tuple[int, int]) -> Any:
    """Of one category."""
    return SimpleNamespace(train=Part(train), validation=Part(*validation), test=Part(*test))


def told(plan: Any = None, params: list[dict[str, object]] | None = None, **spec: Any) -> dict[str, str]:
    """By matter: of gear and strip, two settings of one method."""
    base = {
        "split": SimpleNamespace(train_fraction=0.8, validation_defects=0.3, seed=7), "seed": 5,
        "regimes": ["clean"], "image": SimpleNamespace(size=224, tiles=None),
    }  # fmt: skip
    runs = [
        finding(setting(f"s{i}", i, method="m", params=p), images([1, 2], [0, 1])) for i, p in enumerate(params or [{}])
    ]
    made = material(runs, **base | spec)
    made.plan.parts = {"gear": parts(4, (2, 1), (5, 7)), "strip": parts(6, (3, 2), (5, 7))}  # type: ignore[misc]
    for name, value in (plan or {}).items():
        setattr(made.plan, name, value)
    return {each.matter: each.text for each in find_limitations(made)}


def test_images_are_counted_by_part_and_class() -> None:
    """A range where categories differ, one number where they do not; one category is no categories."""
    assert told()["images"] == (
        "2 categories (gear, strip). Images a category: train 4 to 6 normal and 0 anomalous; validation 2 to 3 normal "
        "and 1 to 2 anomalous; test 5 normal and 7 anomalous."
    )
    alone = told({"parts": {"gear": parts(4, (2, 1), (5, 7))}})["images"]
    assert alone.startswith("1 category (gear). Images a category: train 4 normal and 0 anomalous; ")


def test_the_split_says_what_it_compares_with() -> None:
    """Of 80 % and 30 %; the standard split has no validation part."""
    assert told()["split"] == (
        "One rule of splitting: 80% of the normal training images fit, the rest and 30% of each defect type validate. "
        "No figure is of another split, the benchmark's standard one included, so none compares with published figures."
    )
    standard = told(split=SimpleNamespace(train_fraction=1, seed=7))
    assert standard["split"] == "The benchmark's standard split, without a validation part: no threshold."


def test_repeats_say_what_their_intervals_are_over() -> None:
    """With the seeds of the only one."""
    assert told()["repeats"] == (
        "One repeat (split seed 7, method seed 5): intervals are over the test images and say nothing of other splits "
        "or seeds."
    )
    assert told(repeats=3)["repeats"] == (
        "3 repeats, each with its own split and seeds; intervals are over them and treat them as drawn at random."
    )


def test_thresholds_say_what_so_few_normals_can_tell() -> None:
    """2 in gear and 3 in strip; without a validation part there is none."""
    config = ThresholdConfig(objective="normal_quantile", fpr=0.25)
    assert told(thresholds=config)["thresholds"] == (
        "Objective normal_quantile 0.25 on 2 to 3 normal validation images a category, which also chose the settings: "
        "no false-alarm rate below one in that many can be told from 0. Other objectives were not tried."
    )
    none = told({"parts": {"gear": parts(4, (0, 0), (5, 7))}})["thresholds"]
    assert none == "None was calibrated: metrics at a threshold are left out."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {},
            "Synthetic (mvtec_shift, seed 42), at severity 1 alone, applied to every image once. On: rotation_deg, "
            "scale, translation, brightness, contrast, saturation, blur, noise, illumination; off: crop; fill "
            "reflect. ",
        ),
        (
            {"severity": (0.5, 2.0), "fill": "constant", "seed": 3}
            | dict.fromkeys(("rotation_deg", "scale", "translation", "brightness", "contrast", "saturation", "blur")),
            "Synthetic (mvtec_shift, seed 3), at severities 0.5, 2, applied to every image once. On: noise, "
            "illumination; off: rotation_deg, scale, translation, crop, brightness, contrast, saturation, blur; fill "
            "constant. ",
        ),
    ],
)
def test_a_simulated_shift_says_what_is_on(values: dict[str, Any], words: str) -> None:
    """Every transform on one of the two lists, in their order; that what could not run is said last."""
    shift = StudyShift.model_validate(values)
    regimes = ["clean", "no_adaptation"]
    assert told(shift=shift, regimes=regimes)["shift"] == words + TOGETHER
    absent = told({"absent": ("strip lacks masks",)}, shift=shift, regimes=regimes)["shift"]
    assert absent == f"{words}{TOGETHER} Not run: strip lacks masks."
    assert told(shift=shift)["shift"] == "None was tested."


def test_a_real_shift_says_of_how_many_images() -> None:
    """The counts of the domain's own parts; nothing is said of a simulation that there is not."""
    target = {"gear": parts(8, (1, 1), (2, 3)), "strip": parts(9, (1, 0), (2, 3))}
    shift = SimpleNamespace(transforms=None)
    found = told({"targets": {"new": target}}, shift=shift, regimes=["clean", "no_adaptation"])
    assert found["shift"] == (
        "Real images of new, a category: train 8 to 9 normal and 0 anomalous; validation 1 normal and 0 to 1 "
        "anomalous; test 2 normal and 3 anomalous. What else differs from the source's images than what the domain is "
        "named for, no figure tells."
    )


def test_what_was_held_fixed_is_named_with_its_value() -> None:
    """Every parameter that a reader would ask for, but the one that varies, and none that says nothing of a method."""
    assert FIXED == (
        "backbone", "weights", "layers", "patch_size", "coreset_ratio", "neighbours", "metric", "reweight",
        "n_features", "image_score", "smoothing_sigma",
    )  # fmt: skip
    held: dict[str, object] = {
        "smoothing_sigma": 4.0, "image_score": "max", "n_features": 100, "reweight": "none", "metric": "l2",
        "coreset_ratio": 0.1, "patch_size": 3, "layers": ["a", "b"], "weights": "/w/r18.pth", "backbone": "resnet18",
        "batch": 8,
    }  # fmt: skip
    found = told(params=[held | {"neighbours": k} for k in (1, 9)])
    assert found["not varied"] == (
        "image size 224; m: backbone resnet18, weights r18.pth, layers a-b, patch_size 3, coreset_ratio 0.1, metric "
        "l2, reweight none, n_features 100, image_score max, smoothing_sigma 4."
    )
    tiled = told(image=SimpleNamespace(size=[224, 320], tiles="2 x 3"))
    assert tiled["not varied"].startswith("image size 224-320, of each of 2 x 3 tiles; m: ")
    assert list(found) == ["images", "split", "repeats", "thresholds", "shift", "not varied", "costs"]
    assert found["costs"] == (
        "Times and memory are of one machine, in one process whose peak memory counts earlier runs too."
    )
