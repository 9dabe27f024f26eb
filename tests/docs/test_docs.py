"""What README and docs/ show is what there is: study files, commands, options, files; `test_docs_run.py` runs them."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING, Any

import click
import pytest
from ruamel.yaml import YAML

from adloc.cli import cli
from adloc.study_file.schema import study_schema
from adloc.study_file.validation import load_study
from checkout import ROOT
from pages import Block, blocks, inline

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCKS = list(blocks())
COMMANDS = ("sh", "console")
PARSED = {"json": json.loads, "toml": tomllib.loads, "python": ast.parse}
# One more is one more thing that nobody runs: it needs a reason above it, and this number.
N_EXCUSED = 11
KEYS = study_schema()["properties"].keys()
BASE: dict[str, Any] = {
    "study": "x",
    "regimes": ["clean", "no_adaptation"],
    "dataset": {"kind": "mvtec_ad", "root": "."},
    "methods": [{"method": "patchcore"}],
}


def of(*languages: str) -> list[Any]:
    """The blocks of these languages, each a parameter with its place as its name."""
    return [pytest.param(block, id=str(block)) for block in BLOCKS if block.language in languages]


def whole(part: object) -> dict[str, Any]:
    """A study file that says what a part of one says: a list is of methods, keys stand beside those that must be."""
    own = {"methods": part} if isinstance(part, list) else part
    assert isinstance(own, dict)
    return BASE | own


def read_as_study(part: object, folder: Path) -> None:
    """Have the reader of study files take it; it raises what it would say."""
    path = folder / "study.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(whole(part), file)
    load_study(path)


def test_every_block_is_run_or_read_or_says_why_not() -> None:
    """No block stands there unchecked, but for those whose comment gives the reason; their number is known."""
    excused = [block for block in BLOCKS if block.excuse]
    unchecked = [str(b) for b in BLOCKS if not b.excuse and b.language not in (*COMMANDS, *PARSED, "yaml")]
    assert unchecked == []
    assert len(excused) == N_EXCUSED, "\n".join(f"{block}: {block.excuse}" for block in excused)


def test_a_block_says_where_what_is_not_run_here_is_run() -> None:
    """Every test that an excuse names is there."""
    for block in BLOCKS:
        for name in re.findall(r"tests/\w+\.py", block.excuse):
            assert (ROOT / name).is_file(), f"{block} names {name}"


@pytest.mark.parametrize("block", of("yaml"))
def test_study_files_are_taken(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole study file, or a part of one, is what the reader takes."""
    monkeypatch.setenv("MVTEC_AD_ROOT", str(tmp_path))
    read_as_study(YAML(typ="safe").load(block.text), tmp_path)


@pytest.mark.parametrize("block", of(*PARSED))
def test_other_blocks_parse(block: Block) -> None:
    """By the language that they claim to be in."""
    PARSED[block.language](block.text)


def keys_in_prose() -> Iterator[Any]:
    """Spans like `shift: {severity: [0.5, 1]}`: keys of a study file with a value that has keys or is a list."""
    for page, span in inline():
        if not re.match(rf"({'|'.join(KEYS)}): [\[{{]", span):
            continue
        yield pytest.param(YAML(typ="safe").load(span), id=f"{page}: {span}")


@pytest.mark.parametrize("part", list(keys_in_prose()))
def test_keys_in_running_text_are_taken(part: dict[str, Any], tmp_path: Path) -> None:
    """What a sentence shows of a study file is what the reader takes."""
    read_as_study(part, tmp_path)


def test_keys_in_running_text_are_found_and_can_fail(tmp_path: Path) -> None:
    """The search finds some, and a key that is wrong is told."""
    assert len(list(keys_in_prose())) > 5
    with pytest.raises(Exception, match="severty"):
        read_as_study({"shift": {"severty": 1}}, tmp_path)


def adloc_commands() -> Iterator[Any]:
    """Words of every call of adloc in a block, run or not, and in running text."""
    for block in BLOCKS:
        if block.language in COMMANDS:
            for command in _each(block):
                if "adloc" in command:
                    yield pytest.param(command[command.index("adloc") + 1 :], id=f"{block} {' '.join(command)}")
    for page, span in inline():
        if span.startswith("adloc ") and not span.startswith("adloc VERB"):
            yield pytest.param(span.split()[1:], id=f"{page}: {span}")


def _each(block: Block) -> Iterator[list[str]]:
    """The commands of a block; one whose quotes span lines is not adloc's."""
    try:
        yield from block.commands()
    except ValueError:
        return


@pytest.mark.parametrize("words", list(adloc_commands()))
def test_verbs_and_options_exist(words: list[str]) -> None:
    """Every word up to the first argument is a verb, and every option is one of that verb's."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"{rest[0]} is no verb"
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


TARGETS = {target for block in BLOCKS for target in re.findall(r"^make ([a-z-]+)", block.text, re.MULTILINE)}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_make_knows_its_targets(target: str) -> None:
    """`make -n` has something to do for each."""
    done = subprocess.run(["make", "-n", "-C", str(ROOT), target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_files_that_the_pages_name_are_there() -> None:
    """Paths below the rooms of the repository, in code or in a link."""
    rooms = r"(?:orchestrator|methods|datasets|studies|tests|deploy|docs)/[\w/.-]*\w\.\w+"
    named = {(page, path) for page, span in inline() for path in re.findall(rf"^{rooms}$", span)}
    assert len(named) > 20
    missing = [f"{page}: {path}" for page, path in sorted(named) if not (ROOT / path).exists()]
    assert [each for each in missing if "NAME" not in each] == []


def test_readme_is_short() -> None:
    """A reader of the README reads it to its end."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
