"""Hook of MkDocs: the files beside docs/ that people read are pages too, and links between them hold on the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "studies/quickstart.png": "quickstart.png",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them, under their names on the site."""
    for path, name in BESIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  MkDocs'
    """Turn links as they stand in the repository into links of the site, where all pages lie side by side."""
    markdown = markdown.replace("](docs/", "](")
    for path, name in BESIDE.items():
        markdown = re.sub(rf"\]\((\.\./)?{re.escape(path)}", f"]({name}", markdown)
    return markdown
