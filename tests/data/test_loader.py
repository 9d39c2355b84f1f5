import itertools
import threading

import pytest
import torch

from unmask.data.loader import batches
from unmask.space.batch import Batch


def make(index):
    return Batch(torch.full((1, 1, 2, 2), float(index)), seed=index)


def seeds(start, workers, count=12):
    return [batch.seed for batch in itertools.islice(batches(make, start, workers=workers), count)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_whatever_the_number_of_workers(workers):
    assert seeds(5, workers) == list(range(5, 17))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_is_raised_at_its_place(workers):
    def fail(index):
        if index == 3:
            raise ValueError("sample 3")
        return make(index)

    stream = batches(fail, 0, workers=workers)
    assert [next(stream).seed for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="sample 3"):
        next(stream)


def test_closing_ends_all_threads():
    stream = batches(make, 0, workers=2)
    next(stream)
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batch")]
