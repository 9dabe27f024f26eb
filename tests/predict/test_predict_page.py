"""The page for the person at the line: what it reckons with, which images it shows, and how it behaves in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.predict.page import line_data
from adloc.predict.shown import HIGHEST, NEAREST, Kept, Shown
from adloc.uncertainty.order_statistics import promise
from commandline import adloc
from exported import GREY, draw, score_of, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from chromium import Chromium

NORMAL = (0.01, 0.02, 0.03, 0.04, 0.2)
GREYS = (51, 53, 60, 70, 90, 120, 200)
NASTY = "<img src=x onerror=alert(1)> & 'q' \"ü\".png"


def test_a_stop_flags_one_more() -> None:
    """Neighbouring positions differ by one image or one normal image; the last flags none, the first all."""
    scores, normal = np.array([0.5, 0.1, 0.3]), np.array([0.2, 0.05], np.float32)
    data = line_data(scores, normal, 0.3)
    stops = data["stops"]
    assert isinstance(stops, list)
    assert isinstance(data["start"], int)
    flagged = [int((scores >= stop).sum() + (normal >= stop).sum()) for stop in stops]
    assert flagged == [5, 4, 3, 2, 1, 0]
    assert stops[data["start"]] == 0.3
    assert data["expected"] == [promise(2, k, chosen=True).expected for k in range(3)]


def test_many_scores_have_a_bounded_slider() -> None:
    """And the threshold in use is one of its positions."""
    scores = np.random.default_rng(0).uniform(size=20_000)
    data = line_data(scores, np.zeros(0, np.float32), 0.123456)
    assert isinstance(data["stops"], list)
    assert isinstance(data["start"], int)
    assert len(data["stops"]) <= 2002
    assert data["stops"][data["start"]] == 0.123456
    assert data["expected"] == []


@pytest.mark.parametrize("threshold", [0.9, 0.5, None])
def test_the_page_shows_the_highest_and_the_nearest(threshold: float | None) -> None:
    """Of 5,000 in any order: as if all had been kept and chosen from at the end."""
    scores = np.random.default_rng(1).uniform(size=5000)
    kept = Kept(threshold)
    n_wanted = 0
    for score in scores.tolist():
        if kept.wants(score):
            n_wanted += 1
            kept.add(Shown(str(score), score, "", None))
    ordered = np.sort(scores)[::-1]
    expected = ordered[: HIGHEST + NEAREST]
    if threshold is not None:
        others = ordered[HIGHEST:]
        nearest = others[np.argsort(np.abs(others - threshold))[:NEAREST]]
        expected = np.sort([*ordered[:HIGHEST], *nearest])[::-1]
    assert [each.score for each in kept.by_score()] == expected.tolist()
    assert n_wanted < 3000  # most are not even drawn


def test_few_images_are_all_shown() -> None:
    """500 and less."""
    kept = Kept(0.5)
    for i in range(500):
        assert kept.wants(i / 500)
        kept.add(Shown(str(i), i / 500, "", None))
    assert len(kept.by_score()) == 500


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of seven images, one with a nasty name, and a broken one."""
    folder = tmp_path_factory.mktemp("line")
    model = write_model(folder / "model", normal=NORMAL)
    for grey in GREYS:
        draw(folder / "in" / (NASTY if grey == 120 else f"{grey}.png"), grey, spot=None if grey < 90 else 255 - grey)
    (folder / "in" / "<b>broken.png").write_bytes(b"")
    adloc("predict", model, folder / "in", "--report", folder / "page.html", expect=3)
    return folder / "page.html"


def scored() -> list[float]:
    """By hand: an image's score is its farthest pixel's, and spots are lighter or darker than their ground."""
    return sorted((max(score_of(g), score_of(255 - g) if g >= 90 else 0) for g in GREYS), reverse=True)


STATE = """(() => {
    const cards = [...document.querySelectorAll('.card')].filter((c) => c.offsetParent);
    return { scores: cards.map((c) => Number(c.dataset.score)),
             labels: cards.map((c) => c.querySelector('.label').textContent),
             flagged: document.getElementById('flagged').textContent,
             rate: document.getElementById('rate').textContent };
})()"""
MOVE = """(() => { const s = document.getElementById('threshold'); s.value = WHERE;
    s.dispatchEvent(new Event('input', { bubbles: true })); })()"""
FILTER = """(() => { const s = document.getElementById('filter'); s.value = WHAT;
    s.dispatchEvent(new Event('change', { bubbles: true })); })()"""


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_clipped_and_nothing_is_fetched(browser: Chromium, page: Path, width: int) -> None:
    """At phone and desktop width, light and dark."""
    for dark in (False, True):
        browser.open(page, width, dark=dark)
        assert browser.run("document.documentElement.scrollWidth") <= width
        wide = (
            "[...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
        )
        assert browser.run(f"{wide}.map((e) => e.outerHTML.slice(0, 99))") == []
        assert browser.run("[...document.querySelectorAll('.card img')].every((i) => i.complete && i.naturalWidth > 0)")
        assert browser.complaints() == []


@pytest.mark.slow
def test_images_are_sorted_and_labelled(browser: Chromium, page: Path) -> None:
    """Highest score first; flagged at or above the model's threshold; names are words, not elements."""
    browser.open(page, 1280)
    state = browser.run(STATE)
    np.testing.assert_allclose(state["scores"], scored(), atol=1e-6)
    assert state["labels"] == ["flagged" if score >= 0.1 else "passed" for score in scored()]
    assert state["flagged"] == str(sum(score >= 0.1 for score in scored()))
    names = browser.run("[...document.querySelectorAll('.name')].map((n) => n.textContent)")
    assert NASTY in names
    assert "<b>broken.png" in browser.run("document.querySelector('#broken dt').textContent")
    assert "empty" in browser.run("document.querySelector('#broken dd').textContent")


@pytest.mark.slow
def test_the_slider_relabels_and_says_what_it_costs(browser: Chromium, page: Path) -> None:
    """At every position, and back at the start."""
    browser.open(page, 1280)
    n = int(browser.run("document.getElementById('threshold').max"))
    start = browser.run(STATE)
    for where in range(n + 1):
        browser.run(MOVE.replace("WHERE", str(where)))
        threshold = browser.run(
            "JSON.parse(document.getElementById('data').textContent).stops[WHERE]".replace("WHERE", str(where))
        )
        state = browser.run(STATE)
        assert state["labels"] == ["flagged" if score >= threshold else "passed" for score in state["scores"]]
        k = sum(np.float32(score) >= threshold for score in NORMAL)
        bound = promise(len(NORMAL), k, chosen=True)
        shown = [float(word) for word in state["rate"].replace("%", " ").split() if word.replace(".", "").isdigit()]
        assert shown[0] == pytest.approx(100 * bound.expected, rel=0.006)
        assert shown[2] == pytest.approx(100 * bound.upper, rel=0.006)
    assert state["flagged"] == "0"
    browser.run("document.getElementById('reset').click()")
    assert browser.run(STATE) == start


@pytest.mark.slow
def test_the_filter_leaves_one_side(browser: Chromium, page: Path) -> None:
    """And says so where nothing is left."""
    browser.open(page, 1280)
    browser.run(FILTER.replace("WHAT", "'flagged'"))
    assert set(browser.run(STATE)["labels"]) == {"flagged"}
    browser.run(FILTER.replace("WHAT", "'passed'"))
    assert set(browser.run(STATE)["labels"]) == {"passed"}
    browser.run(MOVE.replace("WHERE", "0"))
    assert browser.run(STATE)["labels"] == []
    assert browser.run("document.getElementById('none').offsetParent !== null")


def press(browser: Chromium, key: str, code: int) -> None:
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)


@pytest.mark.slow
def test_all_is_reached_by_keys(browser: Chromium, page: Path) -> None:
    """Arrows move the threshold; Enter enlarges an image, arrows go on, Escape closes and gives the focus back."""
    browser.open(page, 1280)
    before = browser.run(STATE)["flagged"]
    for _ in range(20):
        press(browser, "Tab", 9)
        if browser.run("document.activeElement.id") == "threshold":
            break
    for _ in range(3):
        press(browser, "ArrowRight", 39)
    assert int(browser.run(STATE)["flagged"]) < int(before)
    for _ in range(20):
        press(browser, "Tab", 9)
        if browser.run("document.activeElement.closest('.card') !== null"):
            break
    press(browser, "Enter", 13)
    assert browser.run("document.getElementById('large').open")
    first = browser.run("document.getElementById('large-name').textContent")
    press(browser, "ArrowRight", 39)
    assert browser.run("document.getElementById('large-name').textContent") != first
    assert browser.run("['large-picture', 'large-overlay'].every((i) => document.getElementById(i).naturalWidth > 0)")
    press(browser, "Escape", 27)
    assert not browser.run("document.getElementById('large').open")
    assert browser.run("document.activeElement.closest('.card') !== null")


def test_a_model_without_normals_promises_nothing(tmp_path: Path) -> None:
    """And one without a scale shows the images alone."""
    model = write_model(tmp_path / "model", normal=(), scale=None)
    draw(tmp_path / "in" / "a.png", GREY + 10)
    adloc("predict", model, tmp_path / "in", "--report", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"expected": []' in text
    assert "anomaly map, warm" not in text
