"""Items h and i: what the engines cost and change, the backbone by itself and whole studies.

The real categories and weights are read from ../shared beside the project where they are there; else ResNet-18 has
random weights, and item i looks at textures alone.
"""

from __future__ import annotations

import itertools
import statistics
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from studies import time_study

from adloc.datasets import load_samples
from adloc.datasets.textures import TexturesConfig
from adloc.datasets.transform import ImageConfig, prepare_image
from adloc.methods.backbone import resolve_weights
from adloc.methods.engines.extractor import open_file
from adloc.methods.engines.onnx_file import convert
from adloc.methods.network import load_backbone
from adloc.record.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from adloc.methods.engines.engine import EngineName
    from adloc.methods.engines.extractor import Extractor
    from adloc.methods.network import FeatureExtractor

CPU = torch.device("cpu")
LAYERS = ("layer2", "layer3")
ENGINES: tuple[EngineName, ...] = ("torch", "onnx", "openvino")
SHARED = Path(__file__).resolve().parent.parent.parent.parent / "shared"
TRUNK = SHARED / "weights" / "resnet18_imagenet1k_v1_trunk.safetensors"
RESNET18 = str(TRUNK) if TRUNK.is_file() else "random"
NETWORKS = {
    "efficientnet_lite0": "default",
    "resnet18": RESNET18,
    "resnet50": "random",
    "wide_resnet50_2": "random",
}
BATCHES, THREADS = (1, 8), (1, 2)
RULE = 0.0005  # the largest difference of a metric that an engine may make


def speed(*, quick: bool) -> dict[str, Any]:
    """Item h: Milliseconds an image of 224 x 224, wall and processor, and the largest difference of a feature."""
    images = _textures(max(BATCHES))
    rows, differences = [], {}
    for name, weights in NETWORKS.items():
        if quick and weights == "random":
            continue
        by_torch = load_backbone(name, resolve_weights(name, weights, seed=0), LAYERS, 0, CPU)
        start = time.perf_counter()
        file = convert(by_torch, (224, 224))
        convert_s = time.perf_counter() - start
        opened = {n: _open(by_torch, file, n) for n in THREADS}
        differences[name] = _differences(opened, images) | {"convert_s": round(convert_s, 1)}
        for n_threads, batch in itertools.product(THREADS, BATCHES):
            passes = {engine: partial(network, images[:batch]) for engine, network in opened[n_threads].items()}
            times = _in_turn(passes, n_threads, rounds=2 if quick else 15 if batch == 1 else 5)
            found = {
                engine: {kind: round(ms / batch, 1) for kind, ms in each.items()} for engine, each in times.items()
            }
            rows.append({"network": name, "weights": Path(weights).name, "threads": n_threads, "batch": batch, **found})
    torch.set_num_threads(THREADS[0])
    return {"ms_an_image": rows, "differences": differences}


def figures(*, quick: bool) -> dict[str, Any]:
    """Item i: What whole studies find by each engine: the largest difference of an image score and of a metric."""
    studies = {"textures": {"kind": "textures", "categories": ["brick"] if quick else ["brick", "grass", "gravel"]}}
    if TRUNK.is_file() and not quick:
        root = str(SHARED / "data" / "industrial")
        studies["industrial"] = {"kind": "mvtec_ad", "root": root, "categories": ["bottle", "commutator"]}
    found = {}
    for name, dataset in studies.items():
        network = (
            {"backbone": "efficientnet_lite0"} if name == "textures" else {"backbone": "resnet18", "weights": RESNET18}
        )
        runs = {engine: _run(name, dataset, network, engine) for engine in ENGINES}
        found[name] = {engine: _compare(runs["torch"], runs[engine]) for engine in ENGINES[1:]}
    return {"against_torch": found, "goal": f"every metric within {RULE}"}


def _textures(n_images: int) -> Tensor:
    """Images float32 (n, 3, 224, 224)."""
    samples = load_samples(TexturesConfig(categories=("brick",), n_train=n_images))[:n_images]
    config = ImageConfig(size=224)
    return torch.from_numpy(np.stack([prepare_image(sample.source.read().image, config) for sample in samples]))


def _open(by_torch: FeatureExtractor, file: bytes, n_threads: int) -> dict[EngineName, Extractor]:
    """The network by every engine, each pass with so many threads."""
    opened: dict[EngineName, Extractor] = {"torch": by_torch}
    return opened | {engine: open_file(engine, file, LAYERS, n_threads, 1) for engine in ENGINES[1:]}


def _in_turn(
    passes: Mapping[EngineName, Callable[[], object]], n_threads: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Least and median wall milliseconds, and median of the processor's, of a pass; others may be at work beside."""
    torch.set_num_threads(n_threads)
    wall: dict[str, list[float]] = {engine: [] for engine in passes}
    processor: dict[str, list[float]] = {engine: [] for engine in passes}
    for number in range(rounds + 1):
        for engine, once in passes.items():
            start, used = time.perf_counter(), time.process_time()
            once()
            if number:  # the first pass also sets up
                wall[engine].append((time.perf_counter() - start) * 1e3)
                processor[engine].append((time.process_time() - used) * 1e3)
    return {
        engine: {
            "min": min(wall[engine]),
            "median": statistics.median(wall[engine]),
            "processor": statistics.median(processor[engine]),
        }
        for engine in passes
    }


def _differences(opened: Mapping[int, Mapping[EngineName, Extractor]], images: Tensor) -> dict[str, Any]:
    """How far features are from torch's, and whether an image has the same bits in any batch and with any threads."""
    expected = opened[THREADS[0]]["torch"](images)
    found: dict[str, Any] = {"largest_feature": round(max(float(maps.abs().max()) for maps in expected.values()), 2)}
    for engine in ENGINES:
        maps = opened[THREADS[0]][engine](images)
        singly = [opened[n][engine](images[i : i + 1]) for n in THREADS for i in range(len(images))]
        found[engine] = {
            "largest_difference": max(float((maps[layer] - expected[layer]).abs().max()) for layer in LAYERS),
            "same_bits": all(
                torch.equal(each[layer][0], maps[layer][i % len(images)])
                for i, each in enumerate(singly)
                for layer in LAYERS
            ),
        }
    return found


def _run(name: str, dataset: dict[str, Any], network: dict[str, Any], engine: EngineName) -> dict[str, Any]:
    """Metrics by (run, metric) and image scores by (run, image) of PatchCore and PaDiM, and the seconds of features."""
    study = {
        "study": f"engine_{name}",
        "dataset": dataset,
        "features": {"engine": engine},
        "methods": [
            {"method": "patchcore", "params": {**network, "layers": list(LAYERS), "coreset_ratio": 0.1}},
            {"method": "padim", "params": {**network, "layers": ["layer1", *LAYERS], "n_features": 100}},
        ],
        "heatmaps": 0,
        "explain": {"suspicious_images": 0, "missed_defects": 0, "mask_noise": []},
    }
    with TemporaryDirectory() as folder:
        timed = time_study(study, Path(folder))
        records = Records(Path(folder) / "studies" / study["study"])
        metrics, scores = {}, {}
        for record in records.all():
            run = f"{record.method} {record.category}"
            metrics |= {(run, metric): value for metric, value in record.metrics.items()}
            scores |= {(run, image.image): image.score for image in records.image_scores(record.run_id, "test")}
    return {"metrics": metrics, "scores": scores, "features_s": timed.stage_s["features"], "n_images": timed.n_images}


def _compare(expected: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """The largest differences."""
    apart = {
        " ".join(key): abs(found["metrics"][key] - value)
        for key, value in expected["metrics"].items()
        if value is not None and ("image_" in key[1] or "pixel_" in key[1])
    }
    scores = [abs(found["scores"][key] - value) / abs(value) for key, value in expected["scores"].items()]
    return {
        "largest_relative_difference_of_a_score": max(scores),
        "n_scores": len(scores),
        "largest_differences_of_metrics": dict(sorted(apart.items(), key=lambda each: -each[1])[:5]),
        "n_metrics": len(apart),
        "features_s": {"torch": round(expected["features_s"], 1), "engine": round(found["features_s"], 1)},
        "n_images": found["n_images"],
    }


ENGINE_ITEMS = {"h": speed, "i": figures}
