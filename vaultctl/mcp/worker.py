"""A thread of its own for what may block: the vault, and writing to a client that does not read.

Not one of anyio's threads: those outlive the event loop and keep the process until they are done, and a server
whose client is gone must leave even if the vault hangs. The thread also is the only one that uses its vault.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Runs jobs one after the other in a daemon thread."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Queue ``job``. A future that is cancelled before its turn never runs."""
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return future

    def _run(self) -> None:
        while True:
            _perform(*self._jobs.get())


def _perform(future: "Future[Any]", job: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
