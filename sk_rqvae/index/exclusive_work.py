"""Changes of an index, which one thread at a time makes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class ExclusiveWork:
    """Lets threads change or save an index one after the other.

    A thread that began again within its own work would wait for itself for ever: in a
    signal handler, a finalizer or a method of an argument. That is an error instead.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_done = True

    def do(self, work: Callable[[], Result]) -> Result:
        """Wait for other threads, and do some work.

        Raises
        ------
        RuntimeError
            If this thread is already at work.
        """
        with self._lock:
            if not self._is_done:
                raise RuntimeError(
                    "This thread is changing or saving the index already. A signal "
                    "handler or a finalizer that runs meanwhile must not do so; it can "
                    "save a copy, copy.copy(index)."
                )
            try:
                self._is_done = False
                return work()
            finally:
                self._is_done = True
