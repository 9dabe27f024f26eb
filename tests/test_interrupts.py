"""Ctrl-C and SIGTERM where they would leave half of a thing: delivered afterwards."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from adloc.interrupts import interrupts_held_back, terminate_as_interrupt

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """SIGINT is an interrupt, whatever the shell that started the tests, or a library since, has made of it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    """The block runs to its end, then the study is interrupted; the handlers are those from before."""
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    done: list[str] = []

    def interrupted() -> None:
        with terminate_as_interrupt(), interrupts_held_back():
            signal.raise_signal(number)
            done.append("all")

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == ["all"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers


def test_a_block_that_nothing_interrupts_ends_as_it_does() -> None:
    """Its own error, and no other."""
    with pytest.raises(ValueError, match="its own"), interrupts_held_back():
        raise ValueError("its own")
