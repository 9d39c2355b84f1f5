"""Batches prepared ahead by threads, handed out in order.

Threads suffice: decoding, compiled kernels and tensor operations release the interpreter lock. They
cannot leave orphans or shared memory behind, and every batch is a function of its index alone, so
the number of threads changes nothing but the speed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from unmask.space.batch import Batch


def batches(make: Callable[[int], Batch], start: int, *, workers: int) -> Iterator[Batch]:
    """``make(start), make(start + 1), ...`` without end, prepared by ``workers`` threads.

    An exception of ``make`` is raised at the place of its batch. ``workers=0`` prepares each batch
    when it is asked for.
    """
    if workers == 0:
        index = start
        while True:
            yield make(index)
            index += 1
    # One thread a worker: a pool of OpenMP threads inside each would fight the training step.
    single = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ThreadPoolExecutor(workers, "batch", **single) as pool:
        waiting: deque[Future[Batch]] = deque()
        index = start
        try:
            while True:
                while len(waiting) <= 2 * workers:
                    waiting.append(pool.submit(make, index))
                    index += 1
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
