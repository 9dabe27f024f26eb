"""A study file may hold plain YAML and aliases of it; whatever else YAML can say is told where it stands."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloc.errors import UserError
from adloc.study_file.reader import StudyFile
from adloc.study_file.validation import load_study
from adloc.study_file.yaml_text import YamlTextError, parse
from commandline import adloc

if TYPE_CHECKING:
    from pathlib import Path

VALID = "study: x\ndataset: {kind: textures, categories: [brick]}\nmethods: [{method: padim}]\n"
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
# What stands on line 4, after the valid file, and words of what is said of it.
REFUSED = {
    "tag that runs": ("seed: !!python/object/apply:os.system [true]", "a tag"),
    "tag of a mapping": ("image: !mine {size: 64}", "a tag, !mine"),
    "tag of a list": ("image: !!omap [size: 64]", "a tag"),
    "tag of a scalar": ("seed: !!int x", "a tag"),
    "loop of a mapping": ("image: &a {size: *a}", "*a stands inside"),
    "loop of a list": ("regimes: &a [[*a]]", "*a stands inside"),
    "alias of nothing": ("image: *nope", "undefined alias"),
    "merge key": ("image: {<<: {size: 64}}", "<< merges"),
    "merge of several": ("image: {<<: [{size: 64}, {crop: 32}]}", "<< merges"),
    "NUL": ("description: a\0b", "U+0000"),
    "NUL as an escape": ('description: "a\\0b"', "U+0000"),
    "control character": ("description: a\x07b", "U+0007"),
    "half a character": ('description: "\\ud800"', "U+D800"),
    "no character": ('description: "\\U00110000"', "does not exist"),
    "no character, far": ('description: "\\UFFFFFFFF"', "does not exist"),
    "brackets": ("regimes: " + "[" * 3000 + "]" * 3000, "more than 50 levels"),
    "open brackets": ("regimes: " + "[" * 3000, "more than 50 levels"),
    "braces": ("image: " + "{a: " * 3000 + "1" + "}" * 3000, "more than 50 levels"),
    "same key twice": ("study: y", "duplicate key"),
    "same key as text": ("image: {1: 2, '1': 3}", "image.1 is given twice"),
    "number as a key": ("1: 2", "1 is not a key here"),
    "list as a key": ("? [a, b]\n: 2", "is not a key here"),
    "long number": ("seed: " + "9" * 5000, "at most 2^63 - 1"),
    "number past 64 bits": ("seed: 9223372036854775808", "at most 2^63 - 1"),
    "no date": ("seed: 2026-13-40", "seed is 2026-13-40"),
    "key of a second document": ("---\nstudy: y", "another document"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_yaml_that_is_no_plain_values_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    """One complaint with file and line, and never what Python raised."""
    path = tmp_path / "s.yaml"
    path.write_text(f"{VALID}{text}\n")
    with pytest.raises(UserError) as caught:
        load_study(path)
    (complaint,) = caught.value.complaints
    assert complaint.found.startswith(f"{path}:4: ")
    assert words in f"{complaint.found} {complaint.rule}"


@pytest.mark.parametrize(("text", "words"), [REFUSED[name] for name in REFUSED if "key" not in name.split()])
def test_same_yaml_in_an_override_is_told(tmp_path: Path, text: str, words: str) -> None:
    """--set reads its value as the file is read."""
    path = tmp_path / "s.yaml"
    path.write_text(VALID)
    key, _, value = text.partition(": ")
    with pytest.raises(UserError) as caught:
        load_study(path, [f"{key}={value}"])
    assert words in str(caught.value)
    assert "--set" in str(caught.value)


@pytest.mark.parametrize(
    "override", ["methods[0].params.layers.²=1", f"methods[{'9' * 5000}]=1", "[0]=1", "study[0]=1", "=", "a.=1"]
)
def test_override_of_no_place_is_told(tmp_path: Path, override: str) -> None:
    """An index is decimal digits, and a key is there."""
    path = tmp_path / "s.yaml"
    path.write_text(VALID)
    with pytest.raises(UserError, match=r"--set|layers is"):
        load_study(path, [override])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (VALID.encode("utf-16"), "not UTF-8"),
        (VALID.encode("utf-32"), "not UTF-8"),
        (VALID.encode() + b"description: \xe9\n", "not UTF-8"),
        (b"", "no keys found"),
        (b"# nothing\n", "no keys found"),
        (b"just words\n", "no keys found"),
        (VALID.encode() + b"#" * 1_000_000, "more than 1,000 kB"),
        (BOMB.encode(), "more than 100,000 values"),
    ],
)
def test_file_that_is_no_study_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    """Whatever the bytes are, the command line ends with 2 and says it."""
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    begun = time.process_time()
    assert words in adloc("study", "validate", path, expect=2).output
    assert time.process_time() - begun < 30  # a bomb that goes off takes hours


def test_folder_is_no_study_file(tmp_path: Path) -> None:
    """It is said to be one."""
    assert "Is a directory" in adloc("study", "validate", tmp_path, expect=2).output


def test_aliases_and_a_byte_order_mark_are_plain(tmp_path: Path) -> None:
    """What saves writing, or what an editor adds, is no mistake."""
    path = tmp_path / "s.yaml"
    path.write_text("a: &these {size: 64}\nb: *these\nc: 2026-01-02\n", encoding="utf-8-sig")
    assert StudyFile(path).data == {"a": {"size": 64}, "b": {"size": 64}, "c": "2026-01-02"}


@given(st.text("ab:-[]{}&*!<>|#'\"\\?,%@`~ \n\t0.\x00\ud800", max_size=40))
def test_any_text_is_values_or_told(text: str) -> None:
    """Nothing but its own error comes out of the reader."""
    with suppress(YamlTextError):
        parse(text)
