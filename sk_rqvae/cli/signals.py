"""Ctrl-C, and termination from outside."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_HANDLED = (signal.SIGINT, signal.SIGTERM)
_STATUS_OF_SIGNAL = 128  # what shells add to the number of a signal


@contextmanager
def cleanup_on_signals() -> Iterator[None]:
    """Unwind the stack on SIGINT and SIGTERM, so that temporary files are removed.

    The program then exits with the status that shells give to a program that a signal
    ended. A KeyboardInterrupt would not do: during training it means that a callback
    stops training and keeps the model. Only the main thread can handle signals; in
    other threads nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Signals that are ignored, as in a job that outlives its terminal, still are.
    before = {
        number: signal.signal(number, _exit)
        for number in _HANDLED
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(_STATUS_OF_SIGNAL + number)
