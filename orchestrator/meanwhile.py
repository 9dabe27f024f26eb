"""A part of the work that a fork of this process does meanwhile: it has all that this one has, and sends its answer."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from multiprocessing import current_process, get_context
from typing import TYPE_CHECKING, TypeVar

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

Answer = TypeVar("Answer")
_PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent ends


@contextmanager
def meanwhile(work: Callable[[], Answer]) -> Iterator[Callable[[], Answer]]:
    """Have `work` done while the block goes on; what it gets waits for the answer, and gives it.

    Where a fork would not be safe it is done here, before the block. Where the fork ends without an answer (it failed,
    it was killed) it is done here when it is asked for: work that is begun anew must leave the same.

    Args:
        work: what it returns can be pickled; it uses no thread that was begun before.
    """
    if not _may_fork():
        done = work()
        yield lambda: done
        return
    context = get_context("fork")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(work, os.getpid(), receiving, sending), daemon=True)
    answers: list[Answer] = []

    def answer() -> Answer:
        if not answers:
            try:
                answers.append(receiving.recv())
            except (EOFError, OSError):
                answers.append(work())
        return answers[0]

    # NumPy's threads wait by spinning: with one for each core in each process they take the cores from both
    with threadpool_limits(1, user_api="blas"):
        with warnings.catch_warnings():
            # Python 3.12 warns of the threads of numerical libraries, which know of forks, as well as of Python's own
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        sending.close()
        try:
            yield answer
        finally:
            receiving.close()
            process.join()  # what it writes is whole even where the block failed


def _may_fork() -> bool:
    """Whether this process has no other thread of Python's, whose locks a fork would keep for ever, and two cores."""
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        and not current_process().daemon  # which may have no processes of its own
        and len(os.sched_getaffinity(0)) > 1
    )


def _send(work: Callable[[], object], parent: int, receiving: Connection, sending: Connection) -> None:
    """In the fork. What goes wrong is said by the process that does the work again."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # it has the parent's locks: it must not outlive it
    if os.getppid() != parent:
        return
    receiving.close()  # this copy: while one is open, an answer that nobody waits for fills the pipe for ever
    try:
        sending.send(work())
    except BaseException:  # noqa: BLE001  the answer's absence says it
        sending.close()
