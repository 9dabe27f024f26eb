"""The pages that people read: README.md, what stands beside it, and docs/."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]


def page(name: str) -> str:
    """The text of the page of this name in docs/, without its suffix."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def everything() -> str:
    """README and the pages of docs/, one after another."""
    return "\n".join(path.read_text(encoding="utf-8") for path in PAGES if path.is_file())
