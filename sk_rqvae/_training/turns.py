"""Fits of one estimator take turns."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ATTRIBUTE = "_fit_turn"


class Turn:
    """A lock of one estimator, for each process.

    A forked child has one of its own: the thread that may have held that of its parent
    does not exist in it.
    """

    def __init__(self) -> None:
        self._of_process: dict[int, threading.RLock] = {}

    def lock(self) -> threading.RLock:
        """The lock of this process."""
        # setdefault is atomic, so that two threads cannot make two locks.
        return self._of_process.setdefault(os.getpid(), threading.RLock())


@contextmanager
def taking_turns(estimator: Any) -> Iterator[None]:
    """Wait until no other thread fits this estimator; readers never wait."""
    # setdefault is atomic, so that two threads cannot make two locks.
    turn: Turn = vars(estimator).setdefault(_ATTRIBUTE, Turn())
    with turn.lock():
        yield


def without_turn(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an estimator without its lock, which cannot be pickled."""
    # `copy` is atomic. Iterating could fail if another thread sets an attribute.
    state = state.copy()
    state.pop(_ATTRIBUTE, None)
    return state
