"""A lock of threads that survives a fork."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

Lock = TypeVar("Lock")


class ProcessLock(Generic[Lock]):
    """A lock for each process.

    A forked process has one of its own: a thread that held the lock of its parent does
    not exist in it.

    Parameters
    ----------
    new_lock : callable
        Makes a lock, such as `threading.RLock`.
    """

    __slots__ = ("_new_lock", "_of_process")

    def __init__(self, new_lock: Callable[[], Lock]) -> None:
        self._new_lock = new_lock
        self._of_process: dict[int, Lock] = {}

    def of_this_process(self) -> Lock:
        """The lock of this process.

        It is returned as it is: an interrupted generator around it would hold it as
        long as somebody keeps the traceback.
        """
        # setdefault is atomic, so that two threads cannot make two locks.
        return self._of_process.setdefault(os.getpid(), self._new_lock())
