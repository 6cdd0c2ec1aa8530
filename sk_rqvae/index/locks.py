"""A lock for writers that survives a fork."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock


class WriterLock:
    """Lets one thread at a time change an index.

    A forked process has a lock of its own: a thread that held the lock of its parent
    does not exist in it.
    """

    __slots__ = ("_lock", "_process")

    def __init__(self) -> None:
        self._lock = Lock()
        self._process = os.getpid()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for other writers, and keep them waiting until the block ends."""
        if self._process != os.getpid():
            self._lock, self._process = Lock(), os.getpid()
        with self._lock:
            yield
