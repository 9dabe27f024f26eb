"""How many threads share a computation, so that it has the same bits on any number of cores, ends, and is fast.

Several images at a time, each with a single thread; and one thread for matrices that several would factor together.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")


def spread(
    function: Callable[[Item], Made], items: Iterable[Item], n_workers: int | None = None, n_threads: int = 1
) -> Iterator[Made]:
    """Yield function(item) for each item, in their order, computed by several threads.

    In a worker torch computes with `n_threads` of its own. With one, results have the same bits on any number of
    cores: a matrix product of MKL or a convolution of oneDNN that several threads share may be summed in another
    order. Nobody waits for the slower half of an operation either, and what lets go of the interpreter but has
    one thread (decoding, checksums, writing) leaves no core idle.

    An exception of the function is raised in its item's turn; what was not begun by then is dropped.

    Args:
        function: what to do with an item.
        items: at most three a worker are taken before the first result is asked for.
        n_workers: None for as many as torch has threads.
        n_threads: of torch, in a worker.
    """
    threads = torch.get_num_threads()
    n_workers = n_workers or threads
    pool = ThreadPoolExecutor(n_workers, "spread", _begin, (n_threads,))
    ahead: deque[Future[Made]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(function, item))
            if len(ahead) == 3 * n_workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the workers' number is also that of threads begun later


def _begin(n_threads: int) -> None:
    """Make ready a thread that computes."""
    torch.set_num_threads(n_threads)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.current_stream().query()  # CUDA's context becomes this thread's: cuBLAS, if first, warns the user


def by_one_thread(function: Callable[..., Made], *arrays: Tensor) -> Made:
    """What a function that factors, inverts or multiplies many matrices makes of these, with one thread of torch's CPU.

    Where several threads share each of many small matrices, MKL takes 3 to 20 times as long, and from 150 rows on its
    factorization fails or never ends (pytorch/pytorch issues 141358 and 142815).

    Args:
        function: of the arrays.
        arrays: on the device that computes; on another than the CPU nothing is changed.
    """
    threads = torch.get_num_threads()
    if arrays[0].device.type != "cpu":
        return function(*arrays)
    torch.set_num_threads(1)
    try:
        return function(*arrays)
    finally:
        torch.set_num_threads(threads)
