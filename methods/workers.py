"""Work on several images at the same time, each with a single thread: the same bits on any number of cores."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    pool = ThreadPoolExecutor(n_workers, "spread", torch.set_num_threads, (n_threads,))
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
