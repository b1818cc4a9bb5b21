"""A pool with a short queue: work that a person waits for first, and none beyond what can be waited for."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tumorscope.server.problems import Problem

T = TypeVar("T")

FAIR = 4  # after so many pieces of urgent work in a row a patient one has its turn
LONGEST_RETRY = 30  # seconds that a client is told to wait at most


@dataclass(order=True)
class _Piece:
    number: int
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)


class Pool:
    """Threads that run inferences, which let go of Python's lock while they compute.

    Parameters
    ----------
    workers : int
        Pieces of work at once.
    limit : int
        Urgent pieces that may wait.

    Examples
    --------
    >>> pool = Pool(1, 4)
    >>> pool.submit(lambda: 6 * 7).result()
    42
    >>> pool.close()
    """

    def __init__(self, workers: int, limit: int) -> None:
        self.workers, self.limit = workers, limit
        self._numbers = itertools.count()
        self._urgent: list[_Piece] = []
        self._patient: list[_Piece] = []
        self._changed = threading.Condition()
        self._running = self._row = 0
        self._closed = False
        self._usual = 0.2  # seconds that a piece takes: a running mean
        self._threads = [threading.Thread(target=self._work, name=f"pool-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], T], *, patient: bool = False) -> Future[T]:
        """What ``work`` will return. A patient piece is never refused and waits for all urgent ones, almost.

        Raises
        ------
        Problem
            429 with the seconds after which to come again, where too many wait already.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise Problem(503, "stopping", "the server is stopping; try again when it is back", Retry_After="5")
            if not patient and len(self._urgent) >= self.limit:
                wait = math.ceil(len(self._urgent) / self.workers * self._usual)
                seconds = max(1, min(wait, LONGEST_RETRY))
                raise Problem(429, "busy", f"the server is busy; try again in {seconds} s", Retry_After=str(seconds))
            queue = self._patient if patient else self._urgent
            heapq.heappush(queue, _Piece(next(self._numbers), work, future))
            self._changed.notify()
        return future

    def facts(self) -> dict[str, int]:
        """Pieces running and waiting, and how many may wait."""
        with self._changed:
            return {"running": self._running, "waiting": len(self._urgent), "limit": self.limit}

    def close(self) -> None:
        """Finish what runs, refuse the rest."""
        with self._changed:
            self._closed = True
            for piece in (*self._urgent, *self._patient):
                piece.future.cancel()
            self._urgent, self._patient = [], []
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._urgent and not self._patient and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                piece = self._next()
                self._running += 1
            begun = time.perf_counter()
            try:
                if piece.future.set_running_or_notify_cancel():
                    try:
                        piece.future.set_result(piece.work())
                    except BaseException as error:
                        piece.future.set_exception(error)
            finally:
                del piece  # its result may be large, and this thread may now wait for long
                with self._changed:
                    self._running -= 1
                    self._usual += 0.1 * (time.perf_counter() - begun - self._usual)

    def _next(self) -> _Piece:
        """The piece whose turn it is."""
        turn = self._patient and (not self._urgent or self._row >= FAIR)
        self._row = 0 if turn else self._row + 1
        return heapq.heappop(self._patient if turn else self._urgent)
