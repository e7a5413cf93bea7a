"""Reading ahead and writing behind: the plain loop's results, its errors, and no thread left."""

import threading

import pytest
import torch

from restoration.transfer import downloaded
from utils.pipeline import DEPTH, Behind, ahead


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) == before


def test_items_come_in_order_and_no_more_than_a_few_are_waiting():
    made = []

    def source():
        for number in range(20):
            made.append(number)
            yield number

    for number in ahead(source()):
        # in the queue, in the thread's hand, and here
        assert number < len(made) <= number + DEPTH + 2
    assert made == list(range(20))


def test_calls_are_made_in_order_before_the_block_ends():
    written = []
    with Behind(written.append) as write:
        for number in range(20):
            write(number)
    assert written == list(range(20))


class Broken(Exception):
    pass


def test_an_error_while_reading_is_raised_after_what_was_read_before():
    def source():
        yield from range(3)
        raise Broken("no fourth")

    seen = []
    with pytest.raises(Broken, match="no fourth"):
        for number in ahead(source()):
            seen.append(number)
    assert seen == [0, 1, 2]


def test_an_error_while_writing_ends_the_loop_and_later_calls_are_left_out():
    written = []

    def write_one(number):
        if number == 2:
            raise Broken("disk full")
        written.append(number)

    with pytest.raises(Broken, match="disk full"), Behind(write_one) as write:
        for number in range(1000):
            write(number)
        raise AssertionError("the loop went on")
    assert written == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, Broken])
def test_a_loop_that_ends_early_ends_both_and_writes_what_was_done(error):
    written = []
    closed = []

    def source():
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    with pytest.raises(error), Behind(written.append) as write:
        for number in ahead(source()):
            write(number)
            if len(written) > 5:
                raise error
    assert closed == [True] and len(written) >= 6


def test_late_results_are_all_there_in_order():
    results = list(torch.arange(5.0))
    assert list(downloaded(iter(results), late=2)) == results
    assert list(downloaded(iter(results[:1]), late=2)) == results[:1]
