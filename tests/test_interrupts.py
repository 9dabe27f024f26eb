"""Ctrl-C and SIGTERM where they would leave half of a thing: delivered afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from adloc.interrupts import interrupts_held_back

# In a process of its own: what other tests have imported has handlers, threads and ends of processes of its own.
INTERRUPTED = """
import signal
from adloc.interrupts import interrupts_held_back, terminate_as_interrupt

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the shell that started the tests made of it
handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
try:
    with terminate_as_interrupt(), interrupts_held_back():
        signal.raise_signal({number})
        print("to its end", flush=True)
except KeyboardInterrupt:
    print("interrupted")
assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_waits_for_the_end_of_the_block(number: signal.Signals) -> None:
    """The block runs to its end, then the study is interrupted; the handlers are those from before."""
    code = INTERRUPTED.format(number=int(number))
    environment = os.environ | {"PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "to its end\ninterrupted\n"), done.stderr


def test_a_block_that_nothing_interrupts_ends_as_it_does() -> None:
    """Its own error, and no other."""
    with pytest.raises(ValueError, match="its own"), interrupts_held_back():
        raise ValueError("its own")
