"""What was used last is kept, up to a number of bytes; made once, also when several ask at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Kept(Generic[T]):
    """Values by key, the least recently used let go first.

    Parameters
    ----------
    limit : int
        Bytes of all values together.
    size : callable
        Bytes of a value.

    Examples
    --------
    >>> kept = Kept(10, len)
    >>> kept.get("a", lambda: b"123456"), kept.get("b", lambda: b"654321")
    (b'123456', b'654321')
    >>> kept.peek("a") is None, kept.peek("b")
    (True, b'654321')
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size = limit, size
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._used = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def peek(self, key: Hashable) -> T | None:
        """The value, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: T) -> None:
        """Keep a value; one larger than the limit is not."""
        size = self._size(value)
        with self._lock:
            former = self._values.pop(key, None)
            self._used -= former[1] if former else 0
            if size > self._limit:
                return
            self._values[key] = (value, size)
            self._used += size
            while self._used > self._limit:
                self._used -= self._values.popitem(last=False)[1][1]

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made if it is not there. Others who want it wait for the first."""
        found = self.peek(key)
        if found is not None:
            return found
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            try:
                found = self.peek(key)
                if found is None:
                    found = make()
                    self.put(key, found)
                return found
            finally:
                with self._lock:
                    self._making.pop(key, None)

    def forget(self, wanted: Callable[[Hashable], bool]) -> None:
        """Let go of the keys that are ``wanted`` away."""
        with self._lock:
            for key in [key for key in self._values if wanted(key)]:
                self._used -= self._values.pop(key)[1]
