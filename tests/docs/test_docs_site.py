"""The site that `make docs` builds: strict, without a network, with references that hold every key, verb and option."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html import unescape
from typing import TYPE_CHECKING, Any

import click
import pytest

from adloc.cli import cli
from adloc.study_file.schema import study_schema
from checkout import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

# Whoever asks for an address ends the build.
WITHOUT_NETWORK = """
import socket, sys
def refuse(*_): raise SystemExit("the build asked for an address")
socket.socket.connect = socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(["build", "--config-file", sys.argv[1], "--site-dir", sys.argv[2]])
"""


def build(config: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """MkDocs in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_NETWORK, str(config), str(site)],
        capture_output=True, text=True, check=False, timeout=300, cwd=config.parent,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONDONTWRITEBYTECODE": ""},  # as for people: "" is unset
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built site."""
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    found = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", found)
    assert done.returncode == 0, done.stderr
    return found


def test_no_program_is_on_the_site(site: Path) -> None:
    """Neither the hooks beside the pages nor what Python makes of them."""
    assert list((ROOT / "docs").glob("*.py"))
    assert [path for path in site.rglob("*") if path.suffix in {".py", ".pyc"} or path.name == "__pycache__"] == []


def pieces(page: Path, tag: str) -> list[str]:
    """Text of every element of a page with this tag, without the markup in it."""
    found = re.findall(rf"<{tag}[ >].*?</{tag}>", page.read_text(encoding="utf-8"), re.DOTALL)
    return [unescape(re.sub(r"<[^>]+>", "", each)) for each in found]


def keys(schema: Any) -> Iterator[str]:
    """Names of all properties of a schema, wherever they stand, but those that only repeat a method's parameters."""
    if isinstance(schema, dict):
        properties = schema.get("properties", {})
        yield from properties
        for key, value in schema.items():
            if key == "properties":
                for name, each in properties.items():
                    if name not in ("grid", "tune"):
                        yield from keys(each)
            else:
                yield from keys(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from keys(each)


def test_the_study_file_reference_has_every_key(site: Path) -> None:
    """Each property of the JSON Schema is a heading or a key of some table, alone or behind the key that holds it."""
    page = site / "study-file.html"
    shown = [title.removesuffix("\u00b6") for title in pieces(page, "h2")] + pieces(page, "code")
    wanted = set(keys(study_schema()))
    assert {"coreset_ratio", "sigma_px", "train_images", "low"} <= wanted
    assert {name for name in wanted if not any(f".{each}".endswith(f".{name}") for each in shown)} == set()


def verbs(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    """Every verb with its full name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def test_the_command_line_reference_has_every_verb_and_option(site: Path) -> None:
    """Each verb's usage, followed by each of its options before the next verb begins."""
    plain = "\n".join(pieces(site / "cli.html", "code"))
    for name, command in verbs(cli, "adloc"):
        found = re.search(rf"^{name} \[OPTIONS\].*?(?=^adloc [a-z -]+ \[OPTIONS\]|\Z)", plain, re.MULTILINE | re.DOTALL)
        assert found, name
        options = {option for p in command.params if isinstance(p, click.Option) for option in p.opts}
        assert {option for option in options if option not in found[0]} == set(), name


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    """No font, style, script or picture of another address; links that a reader follows may lead there."""
    loaded = r"""(<(script|img|iframe)[^>]+src="|<link[^>]+href="|url\(["']?)(https?:)?//"""
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(files) > 20
    assert [path.name for path in files if re.search(loaded, path.read_text(encoding="utf-8"))] == []


def test_pages_beside_the_documentation_are_on_the_site(site: Path) -> None:
    """README is its start, with its picture."""
    index = (site / "index.html").read_text(encoding="utf-8")
    assert "Two commands" in index
    assert 'src="quickstart.png"' in index
    assert (site / "quickstart.png").read_bytes() == (ROOT / "studies" / "quickstart.png").read_bytes()
    assert all((site / f"{name}.html").is_file() for name in ("contributing", "security", "changelog"))


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](tuning.md#nowhere)"])
def test_a_link_that_leads_nowhere_is_an_error(link: str, tmp_path: Path) -> None:
    """To a page that is not there, or to a heading."""
    for name in ("docs", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    with (tmp_path / "docs" / "axes.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{link}\n")
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
