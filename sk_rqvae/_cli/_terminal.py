"""What is said to a person: progress, warnings and errors, on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress

from sk_rqvae._progress import EpochProgress


def training_progress() -> list[Any]:
    """Callbacks that show how far training is, where somebody looks."""
    return [EpochProgress(Console(stderr=True))] if sys.stderr.isatty() else []


@contextmanager
def row_progress(doing: str, n_rows: int | None) -> Iterator[Callable[[int], None]]:
    """Show how many rows are done, where somebody looks.

    Yields
    ------
    callable
        Tells that so many more rows are done.
    """
    if not sys.stderr.isatty():
        # A disabled bar writes an empty line in some releases of rich.
        yield lambda n_more: None
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=n_rows)
        yield lambda n_more: progress.advance(task, n_more)


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
