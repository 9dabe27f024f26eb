"""Item j: `adloc predict` against the least that it must do: decode, one pass of the backbone, one search.

The parts of that floor run alone, one after the other in one process, with as many threads each as the command has.
What the command does beside them (reading ahead, scores, rows) shows as the ratio, of wall and of processor time: on a
machine that others use too, the first is theirs as well. Heatmaps and the page are not asked for.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from machine import ratio
from PIL import Image

from adloc.computing.features import BATCH_SIZE
from adloc.datasets import load_samples
from adloc.datasets.textures import TexturesConfig
from adloc.methods.backbone import resolve_weights
from adloc.methods.embedding import embed
from adloc.methods.network import load_backbone
from adloc.methods.patchcore.params import PatchCoreParams
from adloc.methods.patchcore.search import MemoryBank
from adloc.model.folder import read_model
from adloc.model.held import as_input
from adloc.model.pictures import read_picture_file
from adloc.model.scorer import Scorer
from adloc.predict.images import Asked
from adloc.predict.output import open_output
from adloc.predict.pipeline import BATCH, predict

if TYPE_CHECKING:
    from torch import Tensor

    from adloc.model.folder import Model

STUDY = """\
study: predicting
dataset: {{kind: textures, categories: [brick], n_train: {n_train}}}
regimes: [clean]
heatmaps: 0
explain: {{suspicious_images: 0, missed_defects: 0}}
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, coreset_ratio: 0.01, neighbours: 1, reweight: none}}
"""
CPU = torch.device("cpu")
SIDE = 512  # pixels of the images on disk


def predicting(*, quick: bool) -> dict[str, Any]:
    """Item j: Images a second of a whole batch, its floor in parts, and the latency of an image that comes alone."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        model = read_model(_export(folder, n_train=20 if quick else 100))
        paths = _write_images(folder / "images", 32 if quick else 128)
        scorer = Scorer(model, CPU)
        parts = _Parts(model, scorer, paths)
        whole = partial(_predict, scorer, paths, folder / "rows.csv")
        whole(paths[:BATCH])  # everything is loaded
        parts.run()
        times: dict[str, list[float]] = {"predict": [], "floor": []}
        seconds: dict[str, list[float]] = {"decode": [], "backbone": [], "search": []}
        processor: dict[str, list[float]] = {"predict": [], "floor": []}
        for _ in range(2 if quick else 5):
            start, start_cpu = time.perf_counter(), time.process_time()
            whole()
            times["predict"].append(time.perf_counter() - start)
            middle_cpu = time.process_time()
            found = parts.run()
            times["floor"].append(sum(found.values()))
            processor["predict"].append(middle_cpu - start_cpu)
            processor["floor"].append(time.process_time() - middle_cpu)
            for name, each in found.items():
                seconds[name].append(each)
        alone = [_timed(partial(_score_one, scorer, path)) for path in paths[: 20 if quick else 100]]
        rows = list(csv.DictReader((folder / "rows.csv").open(newline="")))
    timed, busy = ({n: {"all_s": each} for n, each in kind.items()} for kind in (times, processor))
    return {
        "n_images": len(paths),
        "pixels_on_disk": SIDE,
        "input_size": model.spec.image.input_size,
        "bank_entries": parts.n_entries,
        "n_rows": len(rows),
        "images_a_second": round(len(paths) / statistics.median(times["predict"]), 1),
        "floor_images_a_second": round(len(paths) / statistics.median(times["floor"]), 1),
        "ratio_to_the_floor": ratio(timed, "predict", "floor"),
        "ratio_of_processor_time": ratio(busy, "predict", "floor"),
        "goal": "at most 1.3",
        "floor_ms_an_image": {n: round(1000 * statistics.median(s) / len(paths), 2) for n, s in seconds.items()},
        "all_rounds_s": {name: [round(each, 3) for each in all_] for name, all_ in times.items()},
        "latency_ms": {
            "median": round(1000 * statistics.median(alone), 1),
            "p95": round(1000 * float(np.quantile(alone, 0.95)), 1),
        },
    }


class _Parts:
    """The floor: each part over all images, by itself."""

    def __init__(self, model: Model, scorer: Scorer, paths: list[Path]) -> None:
        backbone = model.spec.backbone
        if backbone is None:
            raise TypeError("the benchmark's method has a backbone")
        self._scorer, self._paths = scorer, paths
        self._params = PatchCoreParams.model_validate(model.spec.params)
        file = resolve_weights(backbone.backbone, "default", seed=0, download=False)
        self._network = load_backbone(backbone.backbone, file, backbone.layers, 0, CPU)
        entries = next(np.asarray(result.arrays["bank"]) for result in model.fit.values() if "bank" in result.arrays)
        self.n_entries = len(entries)
        self._bank = MemoryBank(entries, self._params.metric, CPU)

    def run(self) -> dict[str, float]:
        """Seconds of each part."""
        start = time.perf_counter()
        pixels = np.stack([self._scorer.prepare(read_picture_file(path)) for path in self._paths])
        decoded = time.perf_counter()
        n = BATCH_SIZE["cpu"]  # on one core a pass of few images is the fastest
        features = [self._network(as_input(pixels[i : i + n])) for i in range(0, len(pixels), n)]
        passed = time.perf_counter()
        for each in features:
            self._search(each)
        return {"decode": decoded - start, "backbone": passed - decoded, "search": time.perf_counter() - passed}

    def _search(self, features: dict[str, Tensor]) -> None:
        embeddings = embed(features, self._params)
        n, height, width, dimension = embeddings.shape
        self._bank.find(embeddings.reshape(n, height * width, dimension), 1)


def _export(folder: Path, *, n_train: int) -> Path:
    """The model of a small study, by the command line."""
    file, workspace, model = folder / "study.yaml", folder / "workspace", folder / "model"
    file.write_text(STUDY.format(n_train=n_train))
    for arguments in (
        ["study", "run", str(file), "--workspace", str(workspace)],
        ["model", "export", "--study", str(file), "--workspace", str(workspace), "--output", str(model)],
    ):
        subprocess.run([sys.executable, "-P", "-m", "adloc", *arguments], check=True, capture_output=True)
    return model


def _write_images(folder: Path, n: int) -> list[Path]:
    """Textures as JPEG files of a camera's size."""
    folder.mkdir()
    samples = [s for s in load_samples(TexturesConfig(categories=("brick",), n_train=n)) if s.origin == "train"][:n]
    paths = []
    for number, sample in enumerate(samples):
        paths.append(folder / f"{number:04}.jpg")
        Image.fromarray(sample.source.read().image).resize((SIDE, SIDE)).save(paths[-1], quality=92)
    return paths


def _predict(scorer: Scorer, paths: list[Path], rows: Path, some: list[Path] | None = None) -> None:
    asked = [Asked(str(path), PurePath(path.name)) for path in (some or paths)]
    with open_output(rows, append=False) as output:
        for batch in predict(scorer, asked, threading.Event()):
            output.write([each.row(None) for each in batch])
        output.finish()


def _score_one(scorer: Scorer, path: Path) -> None:
    scorer.score(scorer.prepare(read_picture_file(path))[None])


def _timed(function: partial[None]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


PREDICT_ITEMS = {"j": predicting}
