"""Methods that adloc does not bring: named by their place or by an installed package, and what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.errors import UserError
from adloc.methods import METHODS, MethodError, find_method, load_detector
from adloc.planning.sources import ImageStage
from adloc.planning.stages import StepStage
from adloc.study_file.schema import study_schema
from adloc.study_file.validation import load_study
from commandline import adloc
from detectors import draw_images, take
from packages import MEDIAN

if TYPE_CHECKING:
    from pathlib import Path

    from packages import Packages

PLACE = "foreign.median:METHOD"
STUDY = """\
study: plugged
dataset: {kind: textures}
methods:
  - method: floor
  - method: foreign.median:METHOD
    params: {cell: 4}
"""


def complaints(path: Path, text: str) -> list[str]:
    """What is wrong with a study file of this text."""
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_study(path, ())
    return [str(complaint) for complaint in caught.value.complaints]


@pytest.fixture
def foreign(packages: Packages) -> Packages:
    """The example's method in a package of another name."""
    packages.write("foreign", median=MEDIAN)
    return packages


def test_a_method_is_found_by_its_place(foreign: Packages, tmp_path: Path) -> None:  # noqa: ARG001
    """`package.module:METHOD` needs no entry point: it validates, and computes what it says."""
    (tmp_path / "s.yaml").write_text(STUDY)
    assert "a valid study: 2 variants" in adloc("study", "validate", tmp_path / "s.yaml").output
    method, images = find_method(PLACE), draw_images(3, seed=1)
    images.pixels[1, :, 4:8, 8:12] += 2
    found = take(method, method.params(), draw_images(9, seed=2), images)["scores"].arrays
    assert found["patch_maps"].shape == (3, 3, 5)
    assert np.unravel_index(found["patch_maps"].argmax(), (3, 3, 5)) == (1, 1, 2)
    assert found["image_scores"].argmax() == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("METHOD = Method(", "METHOD = dict(", "is of type dict"),
        ("METHOD = Method(", "OTHER = Method(", "METHOD does not exist in"),
        ("import numpy as np", "import nump as np", "cannot be imported (ModuleNotFoundError: No module named 'nump')"),
        ("import numpy as np", "import numpy as np\n1 / 0", "cannot be imported (ZeroDivisionError"),
        ('name="median_image"', 'name="patchcore"', "its name patchcore is a method of adloc's own"),
        ('name="median_image"', 'name="Median image"', "its name is 'Median image'"),
        ('params=("cell",)', 'params=("cel",)', "its steps name unknown parameters: cel"),
        ('params=("cell",)', "params=()", "no step and no map names its parameters cell"),
        ("params=MedianParams", "params=dict", "its params are no Pydantic class"),
        ('Step("median", "fit"', 'Step("median", "score"', "it has no fit step, or no score step after it"),
        ('reads="images"', 'reads="features"', "lacks the parameters backbone, layers, weights"),
    ],
)
def test_a_wrong_declaration_is_said_with_its_line(
    packages: Packages, tmp_path: Path, old: str, new: str, words: str
) -> None:
    """File and line of the study file, what was found, the rule and the remedy; no traceback, nothing computed."""
    assert old in MEDIAN
    packages.write("foreign", median=MEDIAN.replace(old, new, 1))
    (complaint,) = complaints(tmp_path / "s.yaml", STUDY)
    found, rule, remedy = complaint.splitlines()
    assert found.startswith(f"{tmp_path / 's.yaml'}:5: methods[1].method cannot be used: method {PLACE}")
    assert words in found
    assert rule.strip()
    assert remedy.strip()


def test_a_module_that_is_not_there_is_said_with_its_line(tmp_path: Path) -> None:
    """A place without a package behind it."""
    (complaint,) = complaints(tmp_path / "s.yaml", STUDY)
    assert "s.yaml:5: methods[1].method cannot be used" in complaint
    assert "No module named 'foreign'" in complaint


def test_wrong_parameters_are_said_as_those_of_adlocs_own(foreign: Packages, tmp_path: Path) -> None:  # noqa: ARG001
    """A name that is none and a value that is refused: line, rule and remedy out of the plug-in's own class."""
    (unknown,) = complaints(tmp_path / "s.yaml", STUDY.replace("cell:", "cel:"))
    assert "s.yaml:6: methods[1].params.cel is not a parameter of median_image" in unknown
    assert "did you mean cell?" in unknown
    (refused,) = complaints(tmp_path / "s.yaml", STUDY.replace("cell: 4", "cell: 0"))
    assert "s.yaml:6: methods[1].params.cell is 0" in refused
    assert "a whole number of pixels, 1 or more" in refused
    assert "use 4" in refused


def test_a_missing_detector_is_a_mistake_of_the_plug_in(packages: Packages) -> None:
    """What can only be seen when something is computed is a message too."""
    packages.write("foreign", median=MEDIAN.replace("median:Median", "median:Medium"))
    with pytest.raises(MethodError, match=r"its detector foreign\.median:Medium: Medium does not exist"):
        load_detector(find_method(PLACE))


def test_code_is_known_by_all_modules_of_its_package(packages: Packages) -> None:
    """A changed line gives another identity, in a module that the method only imports as well; the same text none."""
    text = MEDIAN.replace("import numpy as np", "import numpy as np\nfrom foreign import maths")
    packages.write("foreign", median=text, maths="SCALE = 1")
    first = find_method(PLACE).code
    packages.write("foreign", median=text, maths="SCALE = 1")
    assert find_method(PLACE).code == first
    packages.write("foreign", median=text, maths="SCALE = 2")
    assert find_method(PLACE).code != first


def test_code_is_part_of_every_key(foreign: Packages) -> None:  # noqa: ARG001
    """Another source, other keys of all steps; of adloc's own methods the keys are without any."""

    class Part:
        image_keys = ("a", "b")

    method = find_method(PLACE)
    keys = set()
    for each in (method, replace(method, code="another"), replace(method, code="")):
        images = ImageStage(Part(), None, _image())  # type: ignore[arg-type]
        fit = StepStage(each, each.steps[0], each.params(), images, (), 1)
        score = StepStage(each, each.steps[1], each.params(), images, (fit,), 1)
        keys |= {fit.key, score.key}
    assert len(keys) == 6
    assert all(own.code == "" for own in METHODS.values() if own.name != "anomalib")


def _image() -> object:
    from adloc.datasets.transform import ImageConfig

    return ImageConfig(size=64)


@pytest.mark.slow
def test_a_step_reads_what_it_declares(packages: Packages, tmp_path: Path) -> None:
    """A fit that reads a parameter which only the scores name would be one for all its values: it is refused."""
    text = MEDIAN.replace('"fit", params=("cell",)', '"fit", params=()')
    packages.write("foreign", median=text.replace('"score", params=()', '"score", params=("cell",)'))
    small = "{kind: textures, categories: [brick], size: 32, n_train: 8, n_test_good: 2, n_per_defect: 4}"
    study = STUDY.replace("{kind: textures}", f"{small}\nimage: {{size: 32}}").replace("  - method: floor\n", "")
    (tmp_path / "s.yaml").write_text(study)
    adloc("study", "run", tmp_path / "s.yaml", "--workspace", tmp_path / "w", expect=3)
    (record,) = (tmp_path / "w/studies").rglob("record.json")
    assert "method median_image: step median reads cell, which it does not declare" in record.read_text()


ENTRIES = {
    "adloc.methods": {
        "median_image": PLACE,
        "broken": "foreign.nowhere:METHOD",
        "misnamed": PLACE,
        "patchcore": PLACE,
    }
}


def test_methods_of_packages_are_listed(foreign: Packages) -> None:
    """Name, origin, what it reads, parameters; what cannot be had is a row with its problem, and no error."""
    foreign.install("foreign-methods", ENTRIES)
    rows = json.loads(adloc("methods", "--json").stdout)
    found = {row["name"]: row for row in rows if row["origin"] != "adloc"}
    assert found["median_image"] == {
        "name": "median_image",
        "origin": "foreign-methods 1.0",
        "what": "The median image, cell by cell",
        "reads": "images",
        "maps": True,
        "params": [
            {
                "name": "cell",
                "required": False,
                "default": 4,
                "description": "Side, in pixels, of the square cells whose mean colours are compared.",
                "rule": "it must be a whole number of pixels, 1 or more",
            }
        ],
        "default_space": {"cell": {"choices": [2, 4, 8, 16]}},
        "problem": "",
    }
    assert "No module named 'foreign.nowhere'" in found["broken"]["problem"]
    assert "is the method median_image" in found["misnamed"]["problem"]
    assert "adloc has a method patchcore of its own" in found["patchcore"]["problem"]
    assert [row["name"] for row in rows if row["origin"] == "adloc"] == list(METHODS)
    assert find_method("patchcore") is METHODS["patchcore"]


def test_the_list_fits_a_terminal(foreign: Packages) -> None:
    """80 columns, every method, in short and in full; a method by its place too."""
    foreign.install("foreign-methods", ENTRIES)
    brief, full = adloc("methods").output, adloc("methods", *METHODS, PLACE, "broken").output
    for text in (brief, full):
        assert max(len(line) for line in text.splitlines()) <= 80
        assert all(f"{name} (" in text for name in (*METHODS, "broken"))
    assert "median_image (foreign-methods 1.0): reads images, says where a defect is" in brief
    assert "cell: 4" in brief
    assert "Side, in pixels, of the square cells" in full


def test_an_unknown_method_is_answered_with_those_that_are_there(foreign: Packages, tmp_path: Path) -> None:
    """Those of packages are among the choices, but not what cannot be had; what is far from all is sent to the list."""
    foreign.install("foreign-methods", ENTRIES)
    (complaint,) = complaints(tmp_path / "s.yaml", STUDY.replace(PLACE, "median_imag"))
    assert "s.yaml:5: methods[1].method is median_imag" in complaint
    assert "use median_image" in complaint
    assert "broken" not in complaint
    assert "see `adloc methods`" in adloc("methods", "zzz", expect=2).output


def test_two_packages_may_not_share_a_name(foreign: Packages) -> None:
    """Which one is meant cannot be told; the same one found twice is one."""
    foreign.write("stranger", median=MEDIAN)
    foreign.install("one", {"adloc.methods": {"median_image": PLACE}})
    foreign.install("once-more", {"adloc.methods": {"median_image": PLACE}})
    assert find_method("median_image").name == "median_image"
    foreign.install("other", {"adloc.methods": {"median_image": "stranger.median:METHOD"}})
    with pytest.raises(MethodError, match=r"is brought by .* and other 1\.0"):
        find_method("median_image")


def test_the_schema_has_the_methods_of_packages(foreign: Packages) -> None:
    """An editor completes a plug-in's parameters as those of adloc's own."""
    foreign.install("foreign-methods", ENTRIES)
    entries = {entry["title"]: entry for entry in study_schema()["$defs"]["MethodEntry"]["oneOf"]}
    assert "cell" in entries["median_image"]["properties"]["params"]["properties"]
    assert "broken" not in entries
