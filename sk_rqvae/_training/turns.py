"""Fits of one estimator take turns."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

from sk_rqvae._process_lock import ProcessLock

_ATTRIBUTE = "_fit_turn"


def turn_of(estimator: Any) -> AbstractContextManager[bool]:
    """A lock that a fit holds, so that no other thread fits the estimator meanwhile."""
    # setdefault is atomic, so that two threads cannot make two locks.
    turn: ProcessLock[AbstractContextManager[bool]] = vars(estimator).setdefault(
        _ATTRIBUTE, ProcessLock(threading.RLock)
    )
    return turn.of_this_process()


def without_turn(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an estimator without its lock, which cannot be pickled."""
    # `copy` is atomic. Iterating could fail if another thread sets an attribute.
    state = state.copy()
    state.pop(_ATTRIBUTE, None)
    return state
