"""The pipeline by itself: order, errors, what is read ahead, and how it stops. No network: scores are grey levels."""

from __future__ import annotations

import threading
import time
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import pytest

from adloc.errors import Complaint, UserError
from adloc.model.scorer import Scored
from adloc.predict.images import Asked
from adloc.predict.pipeline import BATCH, predict
from exported import draw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class Greys:
    """The mean grey of an image is its score; of black images there is none."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def prepare(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A corner."""
        return image[:2, :2]

    def score(self, pixels: NDArray[np.uint8], *, measure: bool) -> Scored:
        """Remember how many there were; their statistic is how many."""
        self.sizes.append(len(pixels))
        scores = pixels.mean(axis=(1, 2, 3), dtype=np.float32)
        statistics = np.full((len(pixels), 1), float(len(pixels))) if measure else None
        return Scored(np.where(scores == 0, np.float32(np.nan), scores), None, statistics)


def asked(path: Path) -> Asked:
    return Asked(str(path), PurePath(path.name))


def test_order_is_kept_however_long_each_takes(tmp_path: Path) -> None:
    """Images of very different size, and broken ones, come out as they went in, at most 16 together."""
    paths = []
    for i in range(50):
        path = draw(tmp_path / f"{i}.png", i + 1)
        if i % 7 == 3:
            path.write_bytes(b"broken")
        paths.append(path)
    scorer = Greys()
    found = [each for batch in predict(scorer, map(asked, paths), threading.Event()) for each in batch]
    assert [each.asked.path for each in found] == [str(path) for path in paths]
    assert [each.score for each in found] == [None if i % 7 == 3 else i + 1 for i in range(50)]
    assert [each.error is None for each in found] == [i % 7 != 3 for i in range(50)]
    assert max(scorer.sizes) <= BATCH


def test_a_score_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    """It would be called normal, whatever the threshold."""
    (batch,) = predict(
        Greys(), [asked(draw(tmp_path / "0.png", 0)), asked(draw(tmp_path / "1.png", 9))], threading.Event()
    )
    assert [each.score for each in batch] == [None, 9]
    assert "nan" in (batch[0].error or "")


def test_no_more_is_listed_than_is_needed(tmp_path: Path) -> None:
    """A list of a million paths is read as its images are scored: memory does not grow with it."""
    path, n_listed = draw(tmp_path / "a.png", 5), 0

    def endless() -> Iterator[Asked]:
        nonlocal n_listed
        while True:
            n_listed += 1
            yield asked(path)

    batches = predict(Greys(), endless(), threading.Event())
    for _ in range(5):
        next(batches)
    time.sleep(0.3)
    assert n_listed <= 5 * BATCH + 3 * BATCH + 2
    batches.close()  # and its threads end
    deadline = time.monotonic() + 20
    while any(thread.name.startswith("adloc-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_image_that_comes_alone_is_not_kept_waiting(tmp_path: Path) -> None:
    """Its score is there before the next path is."""
    path, more = draw(tmp_path / "a.png", 5), threading.Event()

    def slow() -> Iterator[Asked]:
        yield asked(path)
        more.wait(60)
        yield asked(path)

    batches = predict(Greys(), slow(), threading.Event())
    assert len(next(batches)) == 1
    more.set()
    assert len(next(batches)) == 1
    assert list(batches) == []


def test_stopping_leaves_what_is_not_scored() -> None:
    """Also while nothing comes."""
    stop, never = threading.Event(), threading.Event()

    def silent() -> Iterator[Asked]:
        never.wait(60)
        yield from ()

    threading.Timer(0.2, stop.set).start()
    assert list(predict(Greys(), silent(), stop)) == []
    never.set()


def test_a_mistake_in_the_list_is_raised() -> None:
    """Where the images are awaited, not in the thread that lists them."""

    def wrong() -> Iterator[Asked]:
        raise UserError(Complaint("found", "rule", "remedy"))
        yield

    with pytest.raises(UserError):
        list(predict(Greys(), wrong(), threading.Event()))


def test_statistics_are_handed_on_where_they_are_wanted(tmp_path: Path) -> None:
    """For the watch on drift; a broken image has none."""
    images = [asked(draw(tmp_path / f"{i}.png", 9)) for i in range(3)]
    (tmp_path / "1.png").write_bytes(b"")
    (batch,) = predict(Greys(), images, threading.Event(), measure=True)
    assert [None if each.statistics is None else each.statistics.tolist() for each in batch] == [[2], None, [2]]
    (batch,) = predict(Greys(), images, threading.Event())
    assert [each.statistics for each in batch] == [None] * 3
