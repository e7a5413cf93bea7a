"""Reading and writing in threads of their own while a network works, a few items ahead or behind.

Memory is constant: queues hold DEPTH items. Order and results are those of the plain loop. Whatever
goes wrong in a thread is raised where the loop is, and ending the loop in whatever way ends them.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")

DEPTH = 3
_POLL_S = 0.1  # how often a thread that waits for room looks whether it should end


def ahead(items: Iterable[Item], depth: int = DEPTH) -> Iterator[Item]:
    """The items, which a thread gets up to `depth` ahead of whoever takes them."""
    waiting: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def fetch() -> None:
        try:
            for item in items:
                if not _put(waiting, (item, None, False), stop):
                    return
            _put(waiting, (None, None, True), stop)
        except BaseException as error:  # it is raised below
            _put(waiting, (None, error, True), stop)

    thread = threading.Thread(target=fetch, name="reading ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error, ends = waiting.get()
            if error is not None:
                raise error
            if ends:
                return
            yield item
    finally:
        stop.set()
        thread.join()
        if hasattr(items, "close"):
            items.close()  # a generator's file, of whose end nobody else knows


class Behind:
    """Calls of a function in a thread of its own, in order, up to `depth` behind the caller.

    As a context: the calls are done when the block ends, after an error in the block, too. What a
    call raises is raised by the next one or at the end; later calls are then left out.
    """

    def __init__(self, function: Callable[..., object], depth: int = DEPTH):
        self._function = function
        self._waiting: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="writing behind", daemon=True)

    def __call__(self, *arguments: Any) -> None:
        self._raise()
        self._waiting.put(arguments)

    def __enter__(self) -> "Behind":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._waiting.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def _work(self) -> None:
        while (arguments := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._function(*arguments)
                except BaseException as error:  # it is raised where the loop is
                    self._error = error

    def _raise(self) -> None:
        error = self._error
        if error is not None:
            raise error


def _put(waiting: queue.Queue, item: object, stop: threading.Event) -> bool:
    """Put an item where there is room for it; False where nobody wants it any more."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False
