"""Ctrl-C, and termination from outside."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

# Windows has no SIGHUP, which a terminal sends when it is closed.
HANDLED = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
)
_STATUS_OF_SIGNAL = 128  # what shells add to the number of a signal


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Exit on SIGINT, SIGTERM and SIGHUP: at once until `clean_up_on_signals`.

    The status is the one that shells give to a program that a signal ended. Only the
    main thread can handle signals; in other threads nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Signals that are ignored, as in a job that outlives its terminal, still are.
    before = {
        number: signal.signal(number, _exit_at_once)
        for number in HANDLED
        if signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            # After a signal, all are ignored until the process ends.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, handler)


def clean_up_on_signals() -> None:
    """From now on, unwind the stack first, so that temporary files are removed.

    Called before the work, when all is imported: an import can swallow an exception or
    abort the process. A KeyboardInterrupt would not do either: during training it means
    that a callback stops training and keeps the model.
    """
    if threading.current_thread() is threading.main_thread():
        for number in HANDLED:
            if signal.getsignal(number) is _exit_at_once:
                signal.signal(number, _unwind)


def _exit_at_once(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(_STATUS_OF_SIGNAL + number)


def _unwind(number: int, frame: FrameType | None) -> NoReturn:
    # A second signal would interrupt the clean-up, and then the exit of Python.
    for each in HANDLED:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(_STATUS_OF_SIGNAL + number)
