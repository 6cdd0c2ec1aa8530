"""What is said to a person: warnings and errors, on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def one_line_warnings(program: str) -> Iterator[None]:
    """Let a warning be one line, without the place in the source."""

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        say(program, f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def say(program: str, message: object) -> None:
    """Write one line, whatever breaks the message has."""
    sys.stderr.write(f"{program}: {' '.join(str(message).split())}\n")
