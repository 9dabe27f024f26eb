"""JSON that a user hands over, nested thousands deep: the usual error with the file's name, never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from adloc.datasets import load_samples
from adloc.datasets.defect_kinds import read_defect_kinds
from adloc.datasets.errors import DatasetError
from adloc.datasets.json_text import parse_json
from adloc.datasets.polygons import read_coco, read_labelme
from adloc.datasets.readers.real_iad import RealIadConfig
from adloc.errors import UserError
from adloc.model.folder import read_spec
from adloc.model.selftest import read_selftest
from adloc.predict.resumed import resume
from adloc.predict.scores import read_scores

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DEPTH = 100_000
DEEP = {
    "lists": "[" * DEPTH + "]" * DEPTH,
    "objects": '{"path": ' * DEPTH + "1" + "}" * DEPTH,
    "unclosed": "[" * DEPTH,
}


def real_iad(path: Path) -> object:
    """The list of a category of Real-IAD."""
    root = path.parent.parent
    (root / "realiad_1024" / path.stem).mkdir(parents=True)
    return load_samples(RealIadConfig(root=root, categories=(path.stem,)))


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "labelme": ("mask.json", read_labelme),
    "coco": ("masks.json", read_coco),
    "kinds of defect": ("defects_config.json", read_defect_kinds),
    "Real-IAD": ("realiad_jsons/audiojack.json", real_iad),
    "scores": ("rows.jsonl", read_scores),
    "rows to go on from": ("rows.jsonl", resume),
    "model": ("model.json", lambda path: read_spec(path.parent)),
    "self-test": ("selftest.json", lambda path: read_selftest(path.parent)),
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("shape", DEEP)
def test_deep_file_is_told_of(kind: str, shape: str, tmp_path: Path) -> None:
    """By every reader of a user's JSON."""
    name, read = READERS[kind]
    path = tmp_path / "given" / name
    path.parent.mkdir(parents=True)
    path.write_text(DEEP[shape] + "\n")
    with pytest.raises((UserError, DatasetError), match=path.name):
        read(path)


def test_deep_text_is_an_error_of_its_value() -> None:
    """As any other text that is no JSON."""
    with pytest.raises(ValueError, match="nested too deep"):
        parse_json(DEEP["lists"])
    assert parse_json(b'{"a": [[[1.5]]]}') == {"a": [[[1.5]]]}
