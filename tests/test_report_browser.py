"""The report in a real browser: headless Chromium, driven through its own pipe, with nothing downloaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from adloc.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
"""
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync --remote-debugging-pipe"
)


class Chromium:
    """A page in a headless Chromium, by the DevTools protocol over a pipe."""

    def __init__(self, program: str, profile: Path) -> None:
        read_end, self._write = os.pipe()
        self._read, write_end = os.pipe()
        # it reads commands from descriptor 3 and writes answers to 4
        command = f'exec "{program}" {FLAGS} --user-data-dir="{profile}" about:blank 3<&{read_end} 4>&{write_end}'
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Load a page at a width, as a phone below 600 pixels."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=850, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._receive())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Errors, console messages, and everything fetched that is not the page itself."""
        found = [
            e for e in self.events
            if e.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        ]  # fmt: skip
        requests = [
            e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"
        ]
        return found + [{"fetched": url} for url in requests[1:] if not url.startswith("data:")]

    def close(self) -> None:
        """End the program."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            received = os.read(self._read, 1 << 20)
            assert received, "Chromium ended"
            self._buffer += received
        message, self._buffer = self._buffer.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(message)
        return answer


@pytest.fixture(scope="module")
def report(mvtec_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study with three regimes and a sweep."""
    folder = tmp_path_factory.mktemp("browsed")
    (folder / "browsed.yaml").write_text(STUDY.format(root=mvtec_tree))
    done = CliRunner().invoke(cli, ["study", "run", str(folder / "browsed.yaml"), "--workspace", str(folder / "ws")])
    assert done.exit_code == 0, done.output
    return folder / "ws" / "studies" / "browsed" / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    chromium = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield chromium
    chromium.close()


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
