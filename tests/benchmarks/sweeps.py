"""Items b, c, e and f: whole studies."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from machine import matrix_rate
from studies import Timed, texture_study, time_afresh, time_study

from adloc.datasets import load_samples
from adloc.datasets.textures import TexturesConfig
from adloc.datasets.transform import ImageConfig, prepare_image
from adloc.methods.backbone import resolve_weights
from adloc.methods.network import load_backbone

if TYPE_CHECKING:
    from adloc.methods.network import FeatureExtractor

RATIOS = [0.01, 0.02, 0.05, 0.1, 0.2]
STANDARD = {"train_fraction": 1, "validation_defects": 0}
LAYERS = ("layer2", "layer3")


def ratios(*, quick: bool) -> dict[str, Any]:
    """Item b: Five coreset ratios against the single run at 20 %, each from an empty workspace."""
    dataset = {"n_train": 25 if quick else 150, "n_test_good": 10, "n_per_defect": 5}
    params = {"backbone": "resnet18", "weights": "random", "reweight": "none"}
    five = texture_study("five", dataset, {"method": "patchcore", "params": params, "grid": {"coreset_ratio": RATIOS}})
    one = texture_study("one", dataset, {"method": "patchcore", "params": params | {"coreset_ratio": RATIOS[-1]}})
    _warm_up()
    rounds = [(time_afresh(one), time_afresh(five)) for _ in range(1 if quick else 3)]
    middle = sorted(rounds, key=lambda pair: pair[1].study_s / pair[0].study_s)[len(rounds) // 2]
    return {
        "n_train": dataset["n_train"],
        "one_s": round(middle[0].study_s, 2),
        "five_s": round(middle[1].study_s, 2),
        "five_to_one": round(middle[1].study_s / middle[0].study_s, 3),
        "five_to_one_features_apart": round(middle[1].without_features_s / middle[0].without_features_s, 3),
        "goal": "at most 1.25",
        "stages": {name: _stages(each) for name, each in zip(("one", "five"), middle, strict=True)},
        "all_rounds": [round(five.study_s / one.study_s, 3) for one, five in rounds],
    }


def grid(*, quick: bool) -> dict[str, Any]:
    """Item c: Twelve PatchCore variants on one category against anomalib's torch model called in a loop.

    The same images, network and grid: ratios x neighbours x reweighting (anomalib's model has one, so it stands for
    both). The loop reads images and computes features for every variant, as anomalib's own benchmark pipeline does;
    scores are not evaluated, and nothing is recorded.
    """
    small = {"n_train": 8 if quick else 60, "n_test_good": 6, "n_per_defect": 4}
    keys = {"coreset_ratio": [0.01, 0.05, 0.1], "neighbours": [3, 9], "reweight": ["none", "max_patch"]}
    params = {"backbone": "efficientnet_lite0", "layers": list(LAYERS)}
    study = texture_study("grid", small, {"method": "patchcore", "params": params, "grid": keys}, split=STANDARD)
    _warm_up()
    ours = time_afresh(study)
    each = []
    for ratio, neighbours, _ in product(*keys.values()):
        start = time.perf_counter()
        _anomalib_once(small, float(ratio), int(neighbours))
        each.append(time.perf_counter() - start)
    theirs = sum(each)
    return {
        **small,
        "variants": len(each),
        "adloc_s": round(ours.seconds, 2),
        "anomalib_s_by_variant": [round(seconds, 1) for seconds in each],
        "anomalib_s": round(theirs, 2),
        "times_faster": round(theirs / ours.seconds, 1),
        "goal": "at least 10 end to end",
        "adloc_does_beside": "metrics, records, heatmaps, MLflow, report",
        "stages": _stages(ours),
    }


def again(*, quick: bool) -> dict[str, Any]:
    """Item e: A finished study run again by the command line, and a grid extended by one value."""
    small = {"n_train": 15 if quick else 40, "n_test_good": 6, "n_per_defect": 4}
    params = {"backbone": "efficientnet_lite0", "reweight": "none"}

    def study(values: list[float]) -> dict[str, Any]:
        return texture_study(
            "again", small, {"method": "patchcore", "params": params, "grid": {"coreset_ratio": values}}
        )

    with TemporaryDirectory() as folder:
        first = time_study(study([0.01, 0.1]), Path(folder))
        command = [
            sys.executable,
            "-m",
            "adloc",
            "study",
            "run",
            str(Path(folder) / "again.yaml"),
            "--workspace",
            folder,
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHONSAFEPATH": "1"}, cwd=folder)
        finished = time.perf_counter() - start
        extended = time_study(study([0.01, 0.05, 0.1]), Path(folder))
    return {
        "first_s": round(first.seconds, 2),
        "again_s": round(finished, 2),
        "goal": "under 5 s; extended: only its own stages",
        "extended_s": round(extended.seconds, 2),
        "extended_stages": dict(extended.n_stages),
        "extended_images_through_the_backbone": extended.n_images,
    }


def floor(*, quick: bool) -> dict[str, Any]:
    """Item f: Fit and score of a category of bottle's size, ResNet-50, against what cannot be saved.

    That is the backbone's forward pass on all images, and the multiplications of projection, coreset (float64) and
    search (float32) at the rates of large matrix products, measured before and after.
    """
    n_train, n_good, n_defect = (10, 2, 1) if quick else (209, 23, 10)  # 83 test images, as bottle
    dataset = {"n_train": n_train, "n_test_good": n_good, "n_per_defect": n_defect}
    n_test = n_good + 6 * n_defect
    params = {"backbone": "resnet50", "weights": "random", "coreset_ratio": 0.05, "reweight": "none"}
    study = texture_study("floor", dataset, {"method": "patchcore", "params": params}, split=STANDARD)
    _warm_up()
    before = [matrix_rate(torch.float32), matrix_rate(torch.float64)]
    forward = _forward_seconds((n_train + n_test) if quick else 80) * (n_train + n_test)
    run = time_afresh(study)
    forward_after = _forward_seconds((n_train + n_test) if quick else 80) * (n_train + n_test)
    after = [matrix_rate(torch.float32), matrix_rate(torch.float64)]
    single, double = (max(pair) for pair in zip(before, after, strict=True))
    n, m, dimension = 784 * n_train, round(784 * n_train * 0.05), 1536
    parts = {
        "backbone_s": min(forward, forward_after),
        "projection_s": 2 * n * dimension * 128 / single,
        "coreset_s": 2 * n * m * 128 / double,
        "search_s": 2 * 784 * n_test * m * dimension / single,
    }
    worked = sum(
        run.stage_s[kind] for kind in ("features", "patchcore.coreset", "patchcore.search", "patchcore.scores")
    )
    return {
        **dataset,
        "floor": {name: round(value, 2) for name, value in parts.items()},
        "floor_s": round(sum(parts.values()), 2),
        "fit_and_score_s": round(worked, 2),
        "fit_and_score_to_floor": round(worked / sum(parts.values()), 2),
        "whole_study_s": round(run.study_s, 2),
        "whole_study_to_floor": round(run.study_s / sum(parts.values()), 2),
        "explained_s": round(run.phase_s["explain"], 2),
        "model_for_mlflow_s": round(run.phase_s["models"], 2),
        "goal": "at most 1.5",
        "stages": _stages(run),
    }


def _warm_up() -> None:
    """Import everything, anomalib too: that is nobody's cost."""
    import anomalib.models.image.patchcore.torch_model  # noqa: F401

    params = {"backbone": "efficientnet_lite0"}
    time_afresh(texture_study("warm", {"n_train": 4}, {"method": "patchcore", "params": params}))


def _stages(timed: Timed) -> dict[str, float]:
    return {kind: round(seconds, 2) for kind, seconds in timed.stage_s.items()}


def _forward_seconds(n_images: int) -> float:
    """Seconds an image of ResNet-50 up to layer3, in batches as the study's."""
    file = resolve_weights("resnet50", "random", seed=0, download=False)
    network = load_backbone("resnet50", file, LAYERS, 0, torch.device("cpu"))
    images = torch.rand(4, 3, 224, 224)
    network(images)
    start = time.perf_counter()
    for _ in range(0, n_images, 4):
        network(images)
    return (time.perf_counter() - start) / (4 * len(range(0, n_images, 4)))


def _anomalib_once(dataset: dict[str, int], ratio: float, neighbours: int) -> None:
    """One variant: images, features, coreset, scores and maps of every test image."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model = PatchcoreModel(LAYERS, backbone="resnet18", pre_trained=False, num_neighbors=neighbours)
    model.feature_extractor = _Wrapped(_network())
    samples = load_samples(TexturesConfig(categories=("brick",), **dataset))
    model.train()
    for batch in _batches([s for s in samples if s.origin == "train"]):
        model(batch)
    model.subsample_embedding(ratio)
    model.eval()
    for batch in _batches([s for s in samples if s.origin == "test"]):
        model(batch)


class _Wrapped(torch.nn.Module):
    """Our frozen network in the place of anomalib's."""

    def __init__(self, network: FeatureExtractor) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return self._network(images)


def _network() -> FeatureExtractor:
    file = resolve_weights("efficientnet_lite0", "default", seed=0, download=False)
    return load_backbone("efficientnet_lite0", file, LAYERS, 0, torch.device("cpu"))


def _batches(samples: list[Any]) -> list[torch.Tensor]:
    """Images, four at a time."""
    config = ImageConfig()
    read = (np.stack([prepare_image(s.source.read().image, config) for s in samples[i : i + 4]])
            for i in range(0, len(samples), 4))  # fmt: skip
    return [torch.from_numpy(each) for each in read]


SWEEPS = {"b": partial(ratios), "c": partial(grid), "e": partial(again), "f": partial(floor)}
