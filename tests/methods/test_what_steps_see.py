"""A step sees arrays or images of its part only: whoever wrote it, never a path of an image, a label or a mask."""

from __future__ import annotations

import csv
import importlib
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel

from adloc.methods.detector import ImageContext, StepContext
from commandline import adloc
from packages import Packages

if TYPE_CHECKING:
    from collections.abc import Iterator

# A detector that keeps what it is given. It reads features or images, as the study asks.
SPY = '''
import gc
import sys
from pathlib import Path
from typing import Literal

import numpy as np

from adloc.methods.detector import Result
from adloc.methods.method import Method, Step
from adloc.methods.params import BackboneParams, MethodParams

SEEN = []
FOUND = {}


def look_around():
    """Whatever of the test part a step can get hold of in its own process, by no door of adloc's."""
    parts = [each for each in gc.get_objects() if type(each).__name__ == "TestPart"]
    FOUND["gc"] = {sample.source.location for part in parts for sample in part.samples}
    frame, held = sys._getframe(1), []
    while frame is not None:
        held += [type(value).__name__ for value in frame.f_locals.values()]
        frame = frame.f_back
    FOUND["frames"] = set(held)
    FOUND["files"] = {path for path in FOUND["gc"] if Path(path).is_file() and Path(path).read_bytes()}


class NoParams(MethodParams):
    """Nothing."""


class LayersParams(BackboneParams):
    """Layers."""

    layers: tuple[Literal["layer1"], ...] = ("layer1",)


STEPS = Step("fit", "fit", ("layers",)), Step("score", "score", ())
FEATURES = Method("spy_features", LayersParams, STEPS, (), "spy.spy:Spy", {}, maps=False)
STEPS = Step("fit", "fit", ()), Step("score", "score", ())
IMAGES = Method("spy_images", NoParams, STEPS, (), "spy.spy:Spy", {}, maps=False, reads="images")


class Spy:
    def fit(self, context):
        SEEN.append(context)
        look_around()
        if hasattr(context, "images"):
            context.images.read([2, 0])
        return Result({"nothing": np.zeros(1)})

    def score(self, context):
        SEEN.append(context)
        read = context.images if hasattr(context, "images") else context.features
        return Result({"image_scores": np.linspace(0, 1, read.n_images, dtype=np.float32)})

    def anomaly_maps(self, patch_maps, size, params):
        raise NotImplementedError

    def fit_seconds(self, results, params):
        return 0.0

    def model_bytes(self, results, params):
        return 0
'''
STUDY = """\
study: seen
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear]}}
image: {{size: 64}}
methods:
  - method: spy.spy:IMAGES
  - method: spy.spy:FEATURES
    params: {{backbone: efficientnet_lite0}}
heatmaps: 0
models: none
explain: {{suspicious_images: 0, missed_defects: 0}}
"""
DECLARED = ("scratch", "weights")  # a folder of the step's own, and the file of its backbone


def reachable(value: object, name: str = "context") -> Iterator[tuple[str, object]]:
    """Everything that public attributes, keys and items lead to, with the way there; arrays as they are."""
    yield name, value
    if isinstance(value, str | bytes | int | float | Path | np.ndarray | torch.Tensor | torch.device | None):
        return
    if isinstance(value, dict):
        inner: list[tuple[str, Any]] = [(f"{name}[{key}]", each) for key, each in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"{name}[{i}]", each) for i, each in enumerate(value)]
    elif isinstance(value, BaseModel):
        inner = [(f"{name}.{key}", each) for key, each in value.model_dump().items()]
    else:
        public = {n: getattr(value, n) for n in dir(value) if not n.startswith("_")}
        inner = [(f"{name}.{n}", each) for n, each in public.items() if not callable(each) or hasattr(each, "args")]
    for where, each in inner:
        yield from reachable(each, where)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study and its workspace stand."""
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module")
def seen(mvtec_tree: Path, folder: Path) -> Iterator[list[StepContext | ImageContext]]:
    """The contexts of a study's steps, in this process."""
    packages = Packages(folder / "site")
    packages.site.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(packages.site)
        packages.write("spy", spy=SPY)
        (folder / "s.yaml").write_text(STUDY.format(root=mvtec_tree))
        adloc("study", "run", folder / "s.yaml", "--workspace", folder / "w", "--device", "cpu")
        yield importlib.import_module("spy.spy").SEEN
    packages.forget()


@pytest.mark.slow
def test_steps_are_given_what_they_declare(seen: list[StepContext | ImageContext]) -> None:
    """Both kinds of context, each for a fit on the train part and scores of validation and test part."""
    for kind in (StepContext, ImageContext):
        sizes = [_read(context).n_images for context in seen if isinstance(context, kind)]
        assert len(sizes) >= 3
        assert max(sizes) < 12 + 4 + 10  # never all images of the category at once


@pytest.mark.slow
def test_steps_see_no_paths(seen: list[StepContext | ImageContext], mvtec_tree: Path) -> None:
    """No path leads to an image, and no text holds one: what is there is the step's own folder and its weights."""
    for context in seen:
        for where, value in reachable(context):
            if isinstance(value, Path):
                assert where.removeprefix("context.") in DECLARED
            assert str(mvtec_tree) not in repr(value) or isinstance(value, np.ndarray | torch.Tensor), where
            assert not (isinstance(value, str) and ("test/" in value or ".png" in value)), where


@pytest.mark.slow
def test_steps_see_no_labels(seen: list[StepContext | ImageContext]) -> None:
    """Nothing of the datasets is reached, nothing is called a label, a mask or a defect."""
    words = ("label", "mask", "defect", "sample", "split", "truth")
    for context in seen:
        for where, value in reachable(context):
            assert not type(value).__module__.startswith(
                ("adloc.datasets", "adloc.planning.parts", "adloc.computing.truth")
            ), where
            assert not any(word in where for word in words), where


@pytest.mark.slow
def test_what_a_step_is_handed_cannot_be_written_to(seen: list[StepContext | ImageContext]) -> None:
    """Results of earlier steps are read-only: a step changes none that another run or part goes on from."""
    arrays = [array for context in seen for result in context.results.values() for array in result.arrays.values()]
    assert arrays
    assert not any(array.flags.writeable for array in arrays)


@pytest.mark.slow
def test_what_is_only_convention_is_no_more_than_that(seen: list[StepContext | ImageContext], mvtec_tree: Path) -> None:
    """docs/reliability.md: code in the same process finds the test images by gc, frames and the file system."""
    assert seen
    found = importlib.import_module("spy.spy").FOUND
    assert len({path for path in found["files"] if path.startswith(str(mvtec_tree / "gear" / "test"))}) >= 10
    assert {"Workbench", "StepStage"} <= found["frames"]


@pytest.mark.slow
@pytest.mark.usefixtures("seen")
def test_a_record_says_what_each_step_has_read(folder: Path) -> None:
    """What was handed to it and not what its part is: the spy's fit reads two images, or no features at all."""
    found = {}
    for path in (folder / "w/studies/seen/records").glob("*/audit.json"):
        audit = json.loads(path.read_text())
        manifest = list(csv.DictReader((path.parent / "manifest.csv").open()))
        rows = {(row["part"], f"{row['category']}/{row['path']}", row["sha256"]) for row in manifest}
        assert {tuple(image) for image in audit["images"]} == rows
        assert audit["conclusion"] == "no test image before scoring: 10 train, 6 validation, 10 test"
        found |= {(stage["stage"], stage["scores"]): stage for stage in audit["stages"]}
    train = [image for part, image, _ in audit["images"] if part == "train"]
    fitted = found["spy_images.fit (fit)", False]
    assert [audit["images"][row][1] for first, last in fitted["images"] for row in range(first, last + 1)] == [
        train[0],
        train[2],
    ]
    assert found["spy_features.fit (fit)", False]["n_train"] == 0
    truths = [found["truth", scores] for scores in (False, True)]
    assert [(each["n_train"], each["n_validation"], each["n_test"]) for each in truths] == [(0, 6, 0), (0, 0, 10)]


def test_what_is_hidden_in_a_function_or_a_list_is_found() -> None:
    """The walk that the others rest on goes through attributes, items, keys and the arguments of a partial."""
    inside = {"a": [Path("/data/test/crack/001.png")]}
    context = SimpleNamespace(images=SimpleNamespace(deep=inside), progress=partial(print, Path("/data/b")))
    found = {where: value for where, value in reachable(context) if isinstance(value, Path)}
    assert found == {"context.images.deep[a][0]": inside["a"][0], "context.progress.args[0]": Path("/data/b")}


def _read(context: StepContext | ImageContext) -> Any:
    return context.images if isinstance(context, ImageContext) else context.features
