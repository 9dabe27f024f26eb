"""Whatever a study file names by its place is one's own: Python itself is never run by it, a mistake is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from adloc.datasets import DatasetError
from adloc.datasets.registry import find_kind
from adloc.methods import MethodError, find_method
from adloc.methods.backbone import resolve_weights
from adloc.methods.network import load_backbone
from adloc.methods.registry import load_detector
from commandline import adloc
from packages import MEDIAN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from packages import Packages

PYTHON = ["os:system", "builtins:exec", "subprocess:Popen", "posix:abort", "antigravity:fly", "__main__:main"]
MISTAKES = """
import sys
from pathlib import Path
from os import system
import torch

CALLED = Path(__file__).with_name("called")
DEVICE = torch.device("cpu")

def needs(size): CALLED.touch(); return torch.nn.Identity()
def says() -> int: CALLED.touch(); return 1
def text(): return "no network"
def fails(): raise RuntimeError("no licence")
def ends(): sys.exit(0)
class Other:
    def __init__(self): CALLED.touch()
"""


def backbone(place: str) -> object:
    """Build the network of a place."""
    return load_backbone(place, resolve_weights(place, "default"), ("first",), 0, torch.device("cpu"))


@pytest.mark.parametrize("place", PYTHON)
@pytest.mark.parametrize(
    ("load", "error"), [(backbone, MethodError), (find_method, MethodError), (find_kind, DatasetError)]
)
def test_part_of_python_is_refused(load: Callable[[str], object], error: type[Exception], place: str) -> None:
    """Before it is imported or called: as a backbone, a method or a kind of dataset."""
    with pytest.raises(error, match=f"{place}: {place.partition(':')[0]} is a part of Python"):
        load(place)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("system", "posix is a part of Python"),
        ("DEVICE", "is not callable"),
        ("needs", r"cannot be called without arguments \(missing a required argument: 'size'\)"),
        ("says", "returns int"),
        ("Other", "returns Other"),
        ("text", "returned str"),
        ("fails", r"cannot be built \(RuntimeError: no licence\)"),
        ("ends", r"cannot be built \(SystemExit: 0\)"),
        ("absent", "absent does not exist in mistakes.nets"),
    ],
)
def test_function_that_is_no_backbone_is_told(packages: Packages, name: str, said: str) -> None:
    """Before it is called where that can be seen; what it raises or returns otherwise."""
    packages.write("mistakes", nets=MISTAKES)
    with pytest.raises(MethodError, match=said):
        backbone(f"mistakes.nets:{name}")
    assert not (packages.site / "mistakes" / "called").exists()


@pytest.mark.parametrize(
    "text", ["raise RuntimeError('broken')", "import sys; sys.exit(0)", "(", "import nothing_like_it"]
)
@pytest.mark.parametrize(
    ("load", "error"), [(backbone, MethodError), (find_method, MethodError), (find_kind, DatasetError)]
)
def test_module_that_ends_on_import_is_told(
    packages: Packages, load: Callable[[str], object], error: type[Exception], text: str
) -> None:
    """Whatever it does: a module that ends the process, with exit code 0 too."""
    packages.write("broken", thing=text)
    with pytest.raises(error, match=r"broken\.thing:X: cannot be imported"):
        load("broken.thing:X")


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ("subprocess:Popen", "subprocess is a part of Python"),
        ("adloc_median.median:METHOD", "is of type Method"),
        ("adloc_median.nothing:Detector", "cannot be imported"),
        ("torch.nn:Identity", "has no step"),
    ],
)
def test_detector_that_is_none_is_told(packages: Packages, detector: str, said: str) -> None:
    """The class that a package's method names is held to what it is for, and nothing else is made."""
    packages.write("adloc_median", median=MEDIAN.replace("adloc_example.median:Median", detector))
    with pytest.raises(MethodError, match=said):
        load_detector(find_method("adloc_median.median:METHOD"))


@pytest.mark.parametrize("place", ["os:system", "torchvision.models:list_models", "numpy:save", "torch.nn:Linear"])
def test_study_with_a_backbone_that_is_none_ends_before_any_work(tmp_path: Path, place: str) -> None:
    """Exit code 2 with the line, for `plan` as for `run`, and nothing is written."""
    path = tmp_path / "s.yaml"
    path.write_text(
        "study: x\ndataset: {kind: textures, categories: [brick]}\nmethods:\n- method: padim\n"
        f"  params:\n    backbone: '{place}'\n    n_features: 4\n    layers: [a]\n"
    )
    output = adloc("study", "run", path, "--workspace", tmp_path / "w", expect=2).output
    assert output.startswith(f"{path}:6: backbone {place}: ")
    assert not list((tmp_path / "w").glob("studies/*"))
