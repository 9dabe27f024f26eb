"""Write the report: the page, its figures and its tables."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import adloc
from adloc.answer.answer import write_answer
from adloc.answer.results import recorded
from adloc.explain.boundary import explained_keys
from adloc.garbage import rarely_collected
from adloc.keys import content_key
from adloc.meanwhile import meanwhile
from adloc.record.files import files_below, read_checked, write_checked, write_whole

if TYPE_CHECKING:
    from collections.abc import Container, Sequence
    from pathlib import Path

    from adloc.answer.material import Material
    from adloc.record.records import RunRecord
    from adloc.report.charts.figure import Figure
    from adloc.report.gallery import Gallery
    from adloc.report.section import Section
    from adloc.study import Study
    from adloc.uncertainty.resampling import Interval

ERROR_NAME = "report_error.txt"  # in the study's folder: why the last report could not be written
MOST_KEY_PLATES = 4  # pictures of runs in MLflow's parent run
VERSION = 5  # raised when the report looks different for the same records


@dataclass(frozen=True, slots=True)
class Report:
    """Where a report is.

    Attributes:
        page: the HTML file.
        figures: folder of SVG and PNG files.
        tables: folder of CSV and LaTeX files.
        key_figures: the PNG files that say most.
        written: whether it was written now; False when the one there is up to date.
        damaged: a sentence for each picture that could not be shown.
    """

    page: Path
    figures: Path
    tables: Path
    key_figures: tuple[Path, ...]
    written: bool
    damaged: tuple[str, ...] = ()


@rarely_collected()
def write_report(study: Study, output: Path | None = None, *, force: bool = False) -> Report:
    """Make the report of what has been recorded so far, unless it is there and up to date.

    Args:
        study: prepared.
        output: the page; default: report.html in the study's folder of the workspace, where figures and tables go;
            where that may only be read they go beside the page, into a folder of its name.
        force: write it although nothing changed.
    """
    kept = study.workspace.study_path(study.spec.study)
    page = output or kept / "report.html"
    only_read = output is not None and kept.exists() and not os.access(kept, os.W_OK)
    folder = page.with_name(f"{page.stem}_files") if only_read else kept
    found = recorded(study.plan, study.records)
    state = _state(study, found, kept)
    before = _read_state(folder)
    if not force and before is not None and before.get("state") == state and page.exists() and output is None:
        known = tuple(folder / "figures" / name for name in before.get("key_figures", []))
        return Report(page, folder / "figures", folder / "tables", known, written=False)
    folder.mkdir(parents=True, exist_ok=True)
    keys, damaged = _write(study, found, page, folder)
    state = "" if damaged else state  # of what lacks a picture the next report is another
    write_checked(folder / "report.json", {"state": state, "key_figures": [path.name for path in keys]})
    (folder / ERROR_NAME).unlink(missing_ok=True)
    return Report(page, folder / "figures", folder / "tables", tuple(keys), written=True, damaged=damaged)


def _write(study: Study, found: Sequence[RunRecord], page: Path, folder: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Write all of it; return the PNG files that say most, and what was damaged. A fork does half, step by step."""
    from adloc.answer.claim import forget_claims, write_claims
    from adloc.answer.found import find
    from adloc.answer.material import gather
    from adloc.report.sections import make_sections
    from adloc.report.strips import Strips

    forget_claims(folder)
    material, strips = gather(study.plan, study.records, found), Strips()
    with meanwhile(lambda: _make_apart(material, folder / "figures")) as made:
        answer = material.tables()
        answered = find(material, lambda: made().choice)
        write_claims(answered.claims, folder)
        apart = made()
    with meanwhile(lambda: write_answer(answer, folder)) as written:
        sections = make_sections(material, answered, apart.gallery, strips, study.searches, study.workspace)
        written()
    damaged = tuple(dict.fromkeys((*apart.damaged, *strips.damaged)))
    figures = [figure for section in sections for figure in section.figures]
    there = [figure for i, figure in enumerate(figures) if i % 3]  # here is more to do than these
    with meanwhile(lambda: _write_figures(there, folder / "figures")) as drawn:
        html = _render(study, material, apart.gallery, sections, damaged)
        for table in (table for section in sections for table in section.tables):
            write_whole(folder / "tables" / f"report_{table.name}.csv", table.csv().encode())
            write_whole(folder / "tables" / f"report_{table.name}.tex", table.latex().encode())
        _write_figures(figures[::3], folder / "figures")
        drawn()
    _tidy(folder / "figures", {figure.name for figure in figures} | {path.stem for path in apart.plates})
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, html.encode())
    keys = [folder / "figures" / f"{figure.name}.png" for figure in figures if figure.key]
    return keys + apart.plates[:MOST_KEY_PLATES], damaged


@dataclass(frozen=True, slots=True)
class _Apart:
    """Of a report what a fork makes while settings are compared.

    Attributes:
        gallery: of the recorded pictures.
        plates: PNG files made of them.
        damaged: as a report has it, of these.
        choice: the `choice_interval`.
    """

    gallery: Gallery
    plates: list[Path]
    damaged: tuple[str, ...]
    choice: Interval | None


def _make_apart(material: Material, figures: Path) -> _Apart:
    """Make the gallery, write the plates, and resample the choice."""
    from adloc.answer.selection import choice_interval
    from adloc.report.gallery import make_gallery
    from adloc.report.plates import write_plates
    from adloc.report.strips import Strips

    strips = Strips()
    gallery, plates = make_gallery(material, strips), write_plates(material, strips, figures)
    return _Apart(gallery, plates, strips.damaged, choice_interval(material))


def _render(
    study: Study, material: Material, gallery: Gallery, sections: Sequence[Section], damaged: Sequence[str]
) -> str:
    """The page, all in one file."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from adloc.report.sections.provenance import commands, study_file

    source = files("adloc.report")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((source / "page.html").read_text(encoding="utf-8"))
    return template.render(
        study=study.spec.study,
        question=study.spec.description,
        n_done=len(material.findings) + len(material.conditioned),
        n_failed=sum(r.status == "failed" for r in material.records),
        n_runs=len(study.plan.runs),
        running=study.workspace.is_locked(study.spec.study),
        sections=sections,
        gallery=gallery,
        regimes=list(dict.fromkeys(t.regime for c in gallery.cards for t in c.tiles)),
        settings=list(dict.fromkeys(t.setting for c in gallery.cards for t in c.tiles)),
        damaged=damaged,
        random_weights=any(str(s.params.get("weights")) == "random" for s in material.settings),
        commands=commands(study.file),
        study_file=study_file(material),
        version=adloc.__version__,
        css=Markup((source / "page.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
        js=Markup((source / "page.js").read_text(encoding="utf-8")),  # noqa: S704  our own file
        body=lambda table: Markup(table.html_body()),  # noqa: S704  escapes its words itself
        svg=lambda drawing: Markup(drawing.svg()),  # noqa: S704  escapes its words itself
    )


def _state(study: Study, records: Sequence[RunRecord], folder: Path) -> str:
    """Changes with anything that the report shows."""
    trials = sorted(
        f"{path.name}:{facts.st_mtime_ns}" for path, facts in files_below(folder / "trials") if path.suffix == ".json"
    )
    shown = [[r.run_id, r.key, r.status, r.started] for r in records]
    spec = study.spec.resolved()
    explained = explained_keys(study)
    return content_key(["report", VERSION, adloc.__version__, spec, len(study.plan.runs), shown, trials, explained])


def _read_state(folder: Path) -> dict[str, list[str] | str] | None:
    try:
        content = json.loads(read_checked(folder / "report.json"))
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _write_figures(figures: Sequence[Figure], folder: Path) -> None:
    """SVG and PNG of each, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        svg, png = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
        content = figure.drawing.svg(standalone=True)
        if not png.exists() or not svg.exists() or svg.read_text(encoding="utf-8") != content:
            png.unlink(missing_ok=True)  # it is never beside the SVG of another report
            write_whole(svg, content.encode())
            write_whole(png, figure.drawing.png())


def _tidy(folder: Path, names: Container[str]) -> None:
    """Remove the pictures of an earlier report that are no longer there."""
    for path in folder.iterdir():
        if path.stem not in names and path.suffix in (".svg", ".png"):
            path.unlink(missing_ok=True)
