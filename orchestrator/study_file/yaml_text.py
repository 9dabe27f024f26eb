"""YAML as a study file may use it: plain values, and aliases of them. What could do or become more is refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, ScalarEvent

if TYPE_CHECKING:
    from ruamel.yaml.events import Event
    from ruamel.yaml.nodes import ScalarNode

DEEPEST = 50  # levels; ruamel follows them by recursion, and takes 17 s for a thousand brackets
MOST_VALUES = 100_000  # with aliases written out: ten lines of them can stand for 3,500 million
LARGEST = 2**63 - 1
LONGEST_NUMBER = 80  # characters, of a binary one with underscores
# What YAML 1.2 calls printable: no NUL, no control characters, no halves of characters.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOOK = "look at this line and the one before: indentation, a missing colon, an open bracket, a key given twice"


class YamlTextError(Exception):
    """A text that is no YAML of this kind.

    Attributes:
        line: from 1.
        found: what stands there.
        rule: what must hold.
        remedy: what to write.
    """

    def __init__(self, line: int, found: str, rule: str = "it must be YAML", remedy: str = _LOOK) -> None:
        super().__init__(found)
        self.line, self.found, self.rule, self.remedy = line, found, rule, remedy


def parse(text: str) -> object:
    """The values of a text as ruamel gives them: its mappings and lists know their lines.

    Raises:
        YamlTextError: it is no YAML, or has a tag, a merge key, an alias inside of what it names, unprintable
            characters, or more levels or values than a study needs.
    """
    _require_printable(text, 1)
    yaml, line, check = YAML(typ="rt"), 1, _Check()
    yaml.Constructor = _Constructor
    try:
        for event in YAML(typ="rt").parse(text):
            line = event.start_mark.line + 1
            check.follow(event, line)
        return yaml.load(text)  # nothing is built before all of it was looked at
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlTextError(mark.line + 1 if mark else line, str(error.problem or error.context)) from None
    except (ValueError, OverflowError):  # of chr, for "\U00110000"
        raise YamlTextError(line, "an escape names a character that does not exist") from None


class _Check:
    """Follows the events of a text, each of which the scanner gives before it reads on."""

    def __init__(self) -> None:
        self._open: list[tuple[str | None, int]] = []  # the collections around: their anchors, the values before them
        self._sizes: dict[str, int] = {}  # of what anchors name, in values
        self._n_values = 0

    def follow(self, event: Event, line: int) -> None:
        """Look at one event.

        Raises:
            YamlTextError: it is refused.
        """
        if isinstance(event, AliasEvent):
            if any(anchor == event.anchor for anchor, _ in self._open):
                raise YamlTextError(
                    line,
                    f"*{event.anchor} stands inside of what it names",
                    "an alias must name something that has ended before",
                    "write the values out",
                )
            self._n_values += self._sizes.get(event.anchor, 0)  # of an anchor that is not there, ruamel says so
        elif isinstance(event, CollectionStartEvent):
            _require_no_tag(event, line)
            self._open.append((event.anchor, self._n_values))
            self._n_values += 1
        elif isinstance(event, CollectionEndEvent):
            anchor, before = self._open.pop()
            if anchor is not None:
                self._sizes[anchor] = self._n_values - before
        elif isinstance(event, ScalarEvent):
            _require_no_tag(event, line)
            _require_printable(event.value, line)
            if event.value == "<<" and event.implicit[0]:
                raise YamlTextError(
                    line,
                    "<< merges keys",
                    "a mapping must hold its own keys",
                    "write the keys out, or name a whole mapping by an alias: params: *these",
                )
            self._n_values += 1
            if event.anchor is not None:
                self._sizes[event.anchor] = 1
        self._require_bounded(line)

    def _require_bounded(self, line: int) -> None:
        if len(self._open) > DEEPEST:
            raise YamlTextError(
                line, f"more than {DEEPEST} levels of brackets or indentation", f"it must have at most {DEEPEST}"
            )
        if self._n_values > MOST_VALUES:
            raise YamlTextError(
                line,
                f"more than {MOST_VALUES:,} values, with aliases written out",
                f"it must have at most {MOST_VALUES:,}",
                "name many images by a dataset's folder, globs or table, many settings by a grid",
            )


class _Constructor(RoundTripConstructor):
    """Dates stay the text that they are, 2026-13-40 too, and no number is larger than any program takes."""

    def construct_yaml_int(self, node: ScalarNode) -> int:
        found: int = super().construct_yaml_int(node) if len(node.value) <= LONGEST_NUMBER else LARGEST + 1
        if abs(found) > LARGEST:
            raise YamlTextError(
                node.start_mark.line + 1,
                f"the number {node.value[:LONGEST_NUMBER]}",
                "a whole number must be at most 2^63 - 1",
                "use a smaller one, or put text into quotes",
            )
        return found

    def construct_as_written(self, node: ScalarNode) -> str:
        return str(node.value)


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.construct_yaml_int)
_Constructor.add_constructor("tag:yaml.org,2002:timestamp", _Constructor.construct_as_written)


def _require_no_tag(event: CollectionStartEvent | ScalarEvent, line: int) -> None:
    if event.tag is not None:
        raise YamlTextError(
            line,
            f"a tag, {event.tag}",
            "it must hold plain values, without tags",
            'leave it out; text that looks like something else stands in quotes: "01"',
        )


def _require_printable(text: str, line: int) -> None:
    found = _UNPRINTABLE.search(text)
    if found is not None:
        raise YamlTextError(
            line + text.count("\n", 0, found.start()),
            f"the character U+{ord(found[0]):04X}",
            "it must be text that can be printed",
            "take it out; the file may be damaged, or of another program",
        )
