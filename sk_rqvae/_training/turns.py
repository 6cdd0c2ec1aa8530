"""Fits of one estimator take turns."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sk_rqvae._process_lock import ProcessLock

_ATTRIBUTE = "_fit_turn"


@contextmanager
def taking_turns(estimator: Any) -> Iterator[None]:
    """Wait until no other thread fits this estimator; readers never wait."""
    # setdefault is atomic, so that two threads cannot make two locks.
    turn: ProcessLock = vars(estimator).setdefault(
        _ATTRIBUTE, ProcessLock(threading.RLock)
    )
    with turn.of_this_process():
        yield


def without_turn(state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an estimator without its lock, which cannot be pickled."""
    # `copy` is atomic. Iterating could fail if another thread sets an attribute.
    state = state.copy()
    state.pop(_ATTRIBUTE, None)
    return state
