"""The report in a real browser: headless Chromium, driven through its own pipe, with nothing downloaded."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from adloc.cli import cli

if TYPE_CHECKING:
    from pathlib import Path

    from chromium import Chromium

pytestmark = pytest.mark.slow

STUDY = """\
study: browsed
description: Does it look right?
dataset: {{kind: mvtec_ad, root: {root}, categories: [gear, strip]}}
image: {{size: [48, 64]}}
regimes: [clean, no_adaptation, threshold_only]
methods:
  - method: patchcore
    params: {{backbone: efficientnet_lite0, neighbours: 3, reweight: none, smoothing_sigma: 1}}
    grid: {{coreset_ratio: [0.02, 0.1, 0.5]}}
heatmaps: 6
models: none
"""


@pytest.fixture(scope="module")
def report(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with three regimes and a sweep."""
    folder = tmp_path_factory.mktemp("browsed")
    (folder / "browsed.yaml").write_text(STUDY.format(root=mvtec_tree))
    done = CliRunner().invoke(cli, ["study", "run", str(folder / "browsed.yaml"), "--workspace", str(folder / "ws")])
    assert done.exit_code == 0, done.output
    return folder / "ws" / "studies" / "browsed" / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1360])
def test_nothing_is_clipped_and_nothing_complains(browser: Chromium, report: Path, width: int, dark: bool) -> None:
    """At phone and desktop width the page does not scroll sideways, writes no message and fetches nothing."""
    browser.open(report, width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    wide = """[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
        && !e.closest('.scroll, pre')).map((e) => e.outerHTML.slice(0, 120))"""
    assert browser.run(wide) == []
    assert browser.run("[...document.querySelectorAll('main img')].every((i) => i.complete && i.naturalWidth > 0)")
    assert browser.complaints() == []


def test_words_of_charts_stay_inside(browser: Chromium, report: Path) -> None:
    """No label of any chart is cut off at its border."""
    browser.open(report, 1360)
    cut = """[...document.querySelectorAll('svg.chart')].flatMap((svg) => {
        const frame = svg.viewBox.baseVal;
        return [...svg.querySelectorAll('text')].filter((t) => {
            const box = t.getBBox(), upright = t.hasAttribute('transform');
            const right = box.x + box.width > frame.width + 1, below = box.y + box.height > frame.height + 1;
            return !upright && (box.x < -1 || right || below);
        }).map((t) => svg.getAttribute('aria-label') + ': ' + t.textContent);
    })"""
    assert browser.run(cut) == []


def test_tables_are_sorted_by_a_click(browser: Chromium, report: Path) -> None:
    """Numbers fall at first and rise at the second click; words rise at first."""
    browser.open(report, 1360)
    column = """(() => {
        const table = document.querySelector('#table-leaderboard table');
        const head = [...table.querySelectorAll('th')].findIndex((h) => h.textContent === NAME);
        table.querySelectorAll('th')[head].firstElementChild.click();
        return [...table.tBodies[0].rows].map((r) => r.cells[head].dataset.v ?? r.cells[head].textContent);
    })()"""
    numbers = [float(v) for v in browser.run(column.replace("NAME", "'image AUROC'"))]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 1
    numbers = [float(v) for v in browser.run(column.replace("NAME", "'image AUROC'"))]
    assert numbers == sorted(numbers)
    words = browser.run(column.replace("NAME", "'regime'"))
    assert words == sorted(words)
    assert len(set(words)) == 3


def test_rows_are_chosen_by_their_values(browser: Chromium, report: Path) -> None:
    """A choice of category leaves its rows and says how many they are."""
    browser.open(report, 1360)
    chosen = browser.run("""(() => {
        const figure = document.getElementById('table-leaderboard');
        const select = figure.querySelector('select');
        select.value = 'gear';
        select.dispatchEvent(new Event('change'));
        const shown = [...figure.querySelectorAll('tbody tr')].filter((r) => r.offsetParent);
        return [shown.map((r) => r.cells[0].textContent), figure.querySelector('output').textContent];
    })()""")
    assert chosen == [["gear"] * 9, "9 of 27 rows"]


def test_gallery_is_filtered(browser: Chromium, report: Path) -> None:
    """A choice of verdict leaves views of it alone; together with a category, images of that alone."""
    browser.open(report, 1360)
    state = """(() => {
        for (const [name, value] of Object.entries(CHOICE)) {
            const select = document.querySelector(`#gallery-filters [name=${name}]`);
            select.value = value;
            select.dispatchEvent(new Event('change', { bubbles: true }));
        }
        const seen = (e) => e.offsetParent !== null;
        const distinct = (nodes, key) => [...new Set([...nodes].filter(seen).map((n) => n.dataset[key]))];
        return [distinct(document.querySelectorAll('.card'), 'category'),
                distinct(document.querySelectorAll('.tile'), 'verdict')];
    })()"""
    categories, verdicts = browser.run(state.replace("CHOICE", "{}"))
    assert sorted(categories) == ["gear", "strip"]
    assert len(verdicts) > 1
    for verdict in verdicts:
        assert browser.run(state.replace("CHOICE", json.dumps({"verdict": verdict})))[1] == [verdict]
    found = browser.run(state.replace("CHOICE", json.dumps({"verdict": "", "category": "strip"})))
    assert found[0] == ["strip"]


def test_theme_follows_the_system_and_the_reader(browser: Chromium, report: Path) -> None:
    """Dark where the system is dark; the button goes from auto to light, dark and back, and text stays readable."""
    contrast = """(() => {
        const parts = (c) => c.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        const light = (c) => { const [r, g, b] = parts(c); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
        const section = getComputedStyle(document.querySelector('section'));
        const note = getComputedStyle(document.querySelector('.note'));
        const [paper, ink, faint] = [section.backgroundColor, section.color, note.color].map(light);
        const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return [paper, ratio(paper, ink), ratio(paper, faint)];
    })()"""
    click = "document.getElementById('theme').click(); document.getElementById('theme').textContent.trim()"
    browser.open(report, 1360, dark=True)
    steps = [browser.run(contrast)]
    for name in ("light", "dark", "auto"):
        assert browser.run(click) == f"Theme: {name}"
        steps.append(browser.run(contrast))
    assert [paper > 0.5 for paper, _, _ in steps] == [False, True, False, False]
    for _, ink, faint in steps:
        assert ink > 7
        assert faint > 4.5


def test_it_prints(browser: Chromium, report: Path) -> None:
    """As a PDF of some pages, without the filters."""
    browser.open(report, 1360)
    pdf = browser.call("Page.printToPDF", printBackground=True)["data"]
    assert len(pdf) > 100_000
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.querySelector('.filters')).display") == "none"
    browser.call("Emulation.setEmulatedMedia", media="")
