"""Kinds of dataset that adloc does not bring: what a study file says of them, what is wrong with them, what changed."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import pytest

from adloc.datasets import KINDS, find_kind, load_samples, registry
from adloc.datasets.errors import DatasetError
from adloc.datasets.fingerprint import FingerprintCache, fingerprints
from adloc.errors import UserError
from adloc.study import spec_yaml
from adloc.study_file.schema import study_schema
from adloc.study_file.validation import load_study
from commandline import adloc
from packages import PLATES

if TYPE_CHECKING:
    from pathlib import Path

    from packages import Packages

PLACE = "foreign.plates:PlatesConfig"
STUDY = f"""\
study: plugged
dataset:
  kind: {PLACE}
  n_train: 12
image: {{size: 64}}
methods:
  - method: floor
"""


def complaints(path: Path, text: str) -> list[str]:
    """What is wrong with a study file of this text."""
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_study(path, ())
    return [str(complaint) for complaint in caught.value.complaints]


@pytest.fixture
def foreign(packages: Packages) -> Packages:
    """The example's kind of dataset in a package of another name, with an entry point."""
    packages.write("foreign", plates=PLATES)
    packages.install("foreign-datasets", {"adloc.datasets": ENTRIES})
    return packages


ENTRIES = {"plates": PLACE, "broken": "foreign.nowhere:CONFIG", "misnamed": PLACE, "textures": PLACE}


@pytest.mark.parametrize("kind", ["plates", PLACE])
def test_a_study_names_a_kind_of_a_package(foreign: Packages, tmp_path: Path, kind: str) -> None:  # noqa: ARG001
    """By entry point or by place: parts are counted, and the resolved study file is one again."""
    path = tmp_path / "s.yaml"
    path.write_text(STUDY.replace(PLACE, kind))
    checked = json.loads(adloc("data", "check", path, "--workspace", tmp_path / "w", "--json").stdout)
    assert checked["ok"]
    counts = {part["part"]: (part["normal"], part["anomalous"]) for part in checked["parts"]}
    assert {part: sum(n[i] for n in counts.values()) for i, part in enumerate(("normal", "anomalous"))} == {
        "normal": 12 + 8,
        "anomalous": 12,
    }
    _, spec = load_study(path)
    assert spec.resolved()["dataset"] == {"kind": kind, "n_train": 12}
    path.write_text(spec_yaml(spec))
    assert load_study(path)[1] == spec
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301  # our own bytes: what a worker is sent


def test_wrong_keys_are_said_as_those_of_adlocs_own(foreign: Packages, tmp_path: Path) -> None:  # noqa: ARG001
    """Line, rule and remedy out of the package's class; together with the file's other mistakes."""
    text = STUDY.replace("n_train: 12", "n_trian: 12").replace("size: 64", "size: big")
    unknown, size = complaints(tmp_path / "s.yaml", text)
    assert "s.yaml:4: dataset.n_trian is not a key here" in unknown
    assert "the keys here are kind, n_train" in unknown
    assert "did you mean n_train?" in unknown
    assert "image.size is big" in size
    (refused,) = complaints(tmp_path / "s.yaml", STUDY.replace("12", "1"))
    assert "s.yaml:4: dataset.n_train is 1\n  it must be a whole number, 2 or more\n  use 20" in refused


def test_an_unknown_kind_is_answered_with_those_that_are_there(foreign: Packages, tmp_path: Path) -> None:  # noqa: ARG001
    """Those of packages are among the choices, but not what cannot be had."""
    (complaint,) = complaints(tmp_path / "s.yaml", STUDY.replace(PLACE, "plate"))
    assert "s.yaml:3: dataset.kind is plate" in complaint
    assert "did you mean plates?" in complaint
    assert "package.module:CONFIG" in complaint
    assert "broken" not in complaint


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("class PlatesConfig", "class OtherConfig", "cannot be imported (AttributeError"),
        ("import numpy as np", "import nump as np", "cannot be imported (ModuleNotFoundError: No module named 'nump')"),
        ("PlatesConfig(KindConfig)", "PlatesConfig(dict)", "is the class PlatesConfig"),
        ("class PlatesConfig", "PlatesConfig = 3\nclass OtherConfig", "is of type int"),
        ("def listing", "def list_all", "it has no listing"),
        ('Literal["plates"] = "plates"', 'Literal["plates"]', "its kind has no default"),
        ('Literal["plates"] = "plates"', 'Literal["visa"] = "visa"', "its kind visa is one of adloc's own"),
    ],
)
def test_a_wrong_declaration_is_said_with_its_line(
    packages: Packages, tmp_path: Path, old: str, new: str, words: str
) -> None:
    """File and line of the study file, the rule with what was found, and the remedy."""
    assert old in PLATES
    packages.write("foreign", plates=PLATES.replace(old, new, 1))
    (complaint,) = complaints(tmp_path / "s.yaml", STUDY)
    found, rule, remedy = complaint.splitlines()
    assert found == f"{tmp_path / 's.yaml'}:3: dataset.kind is {PLACE}"
    assert words in rule
    assert remedy.strip()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def stamp", "def state", "Plate has no stamp"),
        ('"test", "missing", 12', '"train", "good", 12', "two images are plate/train/good/000"),
        ("return found", "return Listing()", "kind plates lists no image"),
    ],
)
def test_a_wrong_listing_is_said_with_its_line(
    packages: Packages, tmp_path: Path, old: str, new: str, words: str
) -> None:
    """What adloc's own readers do not get wrong, before any image is read."""
    assert old in PLATES
    packages.write("foreign", plates=PLATES.replace(old, new, 1))
    (tmp_path / "s.yaml").write_text(STUDY)
    output = adloc("study", "plan", tmp_path / "s.yaml", "--workspace", tmp_path / "w", expect=2).output
    assert "s.yaml:3: kind plates" in output
    assert words in output


def test_a_changed_source_is_noticed(packages: Packages, tmp_path: Path) -> None:
    """The version in the stamp stands for the code that draws: raised, every image is hashed again."""
    packages.write("foreign", plates=PLATES)
    found = []
    for text in (PLATES, PLATES, PLATES.replace("version: int = 1", "version: int = 2").replace("120, 8", "110, 8")):
        packages.write("foreign", plates=text)
        samples = load_samples(find_kind(PLACE).model_validate({"n_train": 2}))
        cache = FingerprintCache(tmp_path / "cache.json")
        known = [cache.get(sample.source) for sample in samples]
        found.append((any(known), fingerprints(samples, cache)))
    assert [was_known for was_known, _ in found] == [False, True, False]
    first, again, changed = (hashes for _, hashes in found)
    assert first == again
    assert all(first[name].sha256 != changed[name].sha256 for name in first)


def test_adlocs_own_kinds_look_for_no_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Reading the entry points of all that is installed takes time, which only those who need it pay."""

    def refuse(**_: str) -> None:
        raise AssertionError

    registry._entries.cache_clear()
    monkeypatch.setattr(registry, "entry_points", refuse)
    (tmp_path / "s.yaml").write_text(STUDY.replace(PLACE, "textures"))
    assert load_study(tmp_path / "s.yaml")[1].dataset.kind == "textures"


def test_kinds_of_packages_are_listed(foreign: Packages) -> None:  # noqa: ARG001
    """Name, origin, keys; what cannot be had is a row with its problem; adloc's own stay what they are."""
    rows = json.loads(adloc("datasets", "--json").stdout)
    found = {row["kind"]: row for row in rows if row["origin"] != "adloc"}
    assert found["plates"] == {
        "kind": "plates",
        "origin": "foreign-datasets 1.0",
        "what": "Plates with nine marks, drawn on the spot; on an anomalous one a mark is missing",
        "name": None,
        "licence": None,
        "page": None,
        "keys": [
            {
                "name": "n_train",
                "required": False,
                "default": 20,
                "description": "normal images to fit and to calibrate on",
                "rule": "it must be a whole number, 2 or more",
            }
        ],
        "problem": "",
    }
    assert "No module named 'foreign.nowhere'" in found["broken"]["problem"]
    assert "is the kind plates" in found["misnamed"]["problem"]
    assert "adloc has a kind textures of its own" in found["textures"]["problem"]
    assert [row["kind"] for row in rows if row["origin"] == "adloc"] == list(KINDS)
    brief, full = adloc("datasets").output, adloc("datasets", "plates", "visa", PLACE).output
    for text in (brief, full):
        assert max(len(line) for line in text.splitlines()) <= 80
    assert "plates (foreign-datasets 1.0): Plates with nine marks" in brief
    assert "normal images to fit and to calibrate on" in full
    with pytest.raises(DatasetError, match="did you mean plates"):
        find_kind("platse")


def test_the_schema_has_the_kinds_of_packages(foreign: Packages) -> None:  # noqa: ARG001
    """An editor completes a package's keys as those of adloc's own."""
    choices = study_schema()["properties"]["dataset"]["oneOf"]
    (plates,) = [each for each in choices if each.get("title") == "PlatesConfig"]
    assert "n_train" in plates["properties"]
    assert len(choices) == len(KINDS) + 2
