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

    __slots__ = ("_of_process",)

    def __init__(self) -> None:
        self._of_process: dict[int, Lock] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for other writers, and keep them waiting until the block ends."""
        # setdefault is atomic, so that two threads cannot make two locks.
        with self._of_process.setdefault(os.getpid(), Lock()):
            yield
