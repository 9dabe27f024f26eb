"""The pages that people read: README.md, what stands beside it, and docs/; and the fenced blocks in them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = (
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
)
_MARKER = re.compile(r"<!-- not run: (.+) -->")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: its path in the repository.
        line: of its opening fence.
        language: what stands behind the fence.
        text: what is in it.
        excuse: why it is not run, from the comment above it; "" where there is none.
    """

    page: str
    line: int
    language: str
    text: str
    excuse: str

    def __str__(self) -> str:
        """Where it stands."""
        return f"{self.page}:{self.line}"

    def commands(self) -> Iterator[list[str]]:
        """Words of each command of a block of commands, as a shell splits them; comments and variables are left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in lines:
            command: list[str] = []
            for word in [*shlex.split(line, comments=True), "&&"]:
                if word != "&&":
                    command.append(word.removeprefix(".venv/bin/"))
                elif command:
                    yield command
                    command = []


def page(name: str) -> str:
    """The text of the page of this name in docs/, without its suffix."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def everything() -> str:
    """All pages, one after another."""
    return "\n".join(path.read_text(encoding="utf-8") for path in PAGES)


def blocks() -> Iterator[Block]:
    """Every fenced block, page by page."""
    for path in PAGES:
        lines = iter(enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
        above = ""
        for number, line in lines:
            if line.startswith("```"):
                inside = []
                for _, inner in lines:
                    if inner == "```":
                        break
                    inside.append(inner)
                excuse = _MARKER.fullmatch(above)
                language, text = line.removeprefix("```"), "\n".join(inside) + "\n"
                yield Block(str(path.relative_to(ROOT)), number, language, text, excuse[1] if excuse else "")
            above = line


def inline() -> Iterator[tuple[str, str]]:
    """Page and text of every span of code in running text, its line breaks made blanks."""
    for path in PAGES:
        prose = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose):
            yield str(path.relative_to(ROOT)), " ".join(span.split())
