"""A study file as plain values: YAML with its line numbers, variables expanded and overrides applied."""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from adloc.errors import Complaint, UserError
from adloc.study_file.yaml_text import YamlTextError, parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Loc = tuple[str | int, ...]
MOST_BYTES = 1_000_000
LONGEST_OVERRIDE = 80  # characters of it in a message
_INDEX = re.compile(r"[0-9]{1,9}")
MVTEC_AD_REMEDY = (
    "MVTec AD is free for research from MVTec Software's website (search for 'MVTec Anomaly Detection Dataset'); "
    "unpack it and `export MVTEC_AD_ROOT=/path/to/it`.\n"
    "  To try this study without it, on the embedded textures:"
    " add --set 'dataset={kind: textures, categories: all}'"
)


class StudyFile:
    """A parsed study file that knows where each key stands.

    Attributes:
        path: of the file.
        data: plain values, variables expanded and overrides applied.
        overrides: "dotted.key=value", as they were given.
    """

    def __init__(self, path: Path, overrides: Sequence[str] = ()) -> None:
        """Read the file and apply `key=value` overrides.

        Raises:
            UserError: no such file, not YAML, an unset variable, a malformed override.
        """
        self.path = path
        self.overrides = tuple(overrides)
        self._overridden: dict[Loc, str] = {}
        tree = self._parse()
        self._lines: dict[Loc, int] = {}
        self._numbers: dict[Loc, str] = {}
        self._record_lines(tree, ())
        data = _plain(tree)
        for override in overrides:
            self._override(data, override)
        self._complaints: list[Complaint] = []
        self.data = self._expand(data, ())
        if self._complaints:
            raise UserError(*self._complaints)

    def where(self, loc: Loc) -> str:
        """ "studies/x.yaml:14", the line of the key or of its nearest ancestor; or the override that set it."""
        for end in range(len(loc), -1, -1):
            if loc[:end] in self._overridden:
                return f"--set {_short(self._overridden[loc[:end]])}"
            if loc[:end] in self._lines:
                return f"{self.path}:{self._lines[loc[:end]]}"
        return f"{self.path}"

    def number(self, loc: Loc) -> str | None:
        """ "01": a number as the file writes it; None where there is none."""
        return self._numbers.get(loc)

    def complaint(self, loc: Loc, state: str, rule: str, remedy: str) -> Complaint:
        """A complaint about one key: `state` follows the key, as in "is 0"."""
        return Complaint(f"{self.where(loc)}: {dotted(loc)} {state}".rstrip(), rule, remedy)

    def _parse(self) -> CommentedMap:
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            text = content.decode("utf-8-sig")
        except OSError as error:
            raise self._unreadable(error.strerror or str(error), "check the path") from None
        except ValueError:
            raise self._unreadable("not UTF-8 text", "save it as UTF-8, or check the path") from None
        if len(content) > MOST_BYTES:
            raise self._unreadable(f"more than {MOST_BYTES // 1000:,} kB", "check the path")
        try:
            tree = parse(text)
        except YamlTextError as error:
            raise UserError(Complaint(f"{self.path}:{error.line}: {error.found}", error.rule, error.remedy)) from None
        if not isinstance(tree, CommentedMap):
            raise UserError(
                Complaint(
                    f"{self.path}:1: no keys found",
                    "a study file must hold keys such as study, dataset, methods",
                    "start from studies/quickstart.yaml",
                )
            )
        return tree

    def _unreadable(self, found: str, remedy: str) -> UserError:
        return UserError(Complaint(f"{self.path}: {found}", "a study file must be readable", remedy))

    def _record_lines(self, node: object, loc: Loc) -> None:
        if isinstance(node, CommentedMap):
            for key in node:
                here, line = (*loc, str(key)), node.lc.key(key)[0] + 1
                if here in self._lines:  # 1 and "1", which are two keys to YAML
                    raise UserError(self.complaint(here, "is given twice", "a key is text", "keep one of the two"))
                self._lines[here] = line
                self._record_lines(node[key], here)
        elif isinstance(node, CommentedSeq):
            for index, item in enumerate(node):
                self._lines[(*loc, index)] = node.lc.item(index)[0] + 1
                self._record_lines(item, (*loc, index))
        elif isinstance(node, int | float):
            self._numbers[loc] = str(node).zfill(getattr(node, "_width", None) or 0)  # 01 keeps its zero

    def _override(self, data: dict[str, Any], override: str) -> None:
        key, equals, text = override.partition("=")
        loc = tuple(
            int(part) if _INDEX.fullmatch(part) else part
            for part in re.sub(r"\[(\d+)\]", r".\1", key.strip()).split(".")
        )
        try:
            if not equals or not all(part != "" for part in loc):
                raise YamlTextError(1, "no key, or no value")
            value = _plain(parse(text))
        except YamlTextError as error:
            raise UserError(
                Complaint(
                    f"--set {_short(override)}: {error.found}",
                    f"an override must be dotted.key=value, and of the value: {error.rule}",
                    "write for example --set image.size=128 or --set methods[0].params.neighbours=5",
                )
            ) from None
        try:
            _put(data, loc, value)
        except (KeyError, IndexError, TypeError):
            raise UserError(
                Complaint(
                    f"--set {_short(override)}: there is no {dotted(loc[:-1])} to set it in",
                    "an override follows the keys of the study file",
                    "see the resolved keys with `adloc study validate FILE --json`",
                )
            ) from None
        self._overridden[loc] = override

    def _expand(self, node: Any, loc: Loc) -> Any:  # noqa: ANN401  # any YAML value
        if isinstance(node, dict):
            return {key: self._expand(value, (*loc, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self._expand(value, (*loc, index)) for index, value in enumerate(node)]
        if not isinstance(node, str):
            return node
        for name in re.findall(r"\$\{(\w+)\}", node):
            if not os.environ.get(name):
                remedy = (
                    MVTEC_AD_REMEDY
                    if name == "MVTEC_AD_ROOT"
                    else f"`export {name}=...`, or write the value into the file"
                )
                self._complaints.append(
                    self.complaint(
                        loc,
                        f"is {node}, and {name} is {'empty' if name in os.environ else 'not set'}",
                        "a variable in a study file must be set in the environment",
                        remedy,
                    )
                )
        text = re.sub(r"\$\{(\w+)\}", lambda m: os.environ.get(m[1], m[0]), node)
        return os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111  # not always a path


def dotted(loc: Loc) -> str:
    """("methods", 0, "grid") -> "methods[0].grid"."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _short(override: str) -> str:
    return override if len(override) <= LONGEST_OVERRIDE else f"{override[:LONGEST_OVERRIDE]}..."


def _plain(node: Any) -> Any:  # noqa: ANN401  # any YAML value
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(item) for item in node]
    for kind in (bool, int, float, str):  # ruamel's scalars are subclasses that keep their notation
        if isinstance(node, kind):
            return kind(node)
    return node if node is None else str(node)


def _put(data: dict[str, Any], loc: Loc, value: object) -> None:
    """Set a value where an override says, in mappings that are made where there are none.

    Raises:
        KeyError, IndexError, TypeError: there is nothing to set it in.
    """
    node: Any = data
    for here, following in pairwise(loc):
        if isinstance(node, dict) and here not in node:
            node[here] = {} if isinstance(following, str) else []
        node = node[here]
        if node is None:
            raise TypeError
    if isinstance(node, list) and not (isinstance(loc[-1], int) and loc[-1] < len(node)):
        raise IndexError
    node[loc[-1]] = value
