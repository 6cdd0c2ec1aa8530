"""Text for a person at a terminal."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PROGRAM = "sk-rqvae"


def printable(text: str) -> str:
    r"""Escape what is not printable, such as the control sequences of terminals.

    Examples
    --------
    >>> print(printable("a\x1b[31mred"))
    a\x1b[31mred
    """
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape").decode()
        for character in text
    )


def one_line(message: object) -> str:
    r"""Join the lines of a message and escape what is not printable.

    Examples
    --------
    >>> one_line("first\n  second")
    'first second'
    """
    return printable(" ".join(str(message).split()))


def say(message: object) -> None:
    """Write one line to standard error, after the name of the program."""
    sys.stderr.write(f"{PROGRAM}: {one_line(message)}\n")


def say_command(purpose: str, words: Sequence[str]) -> None:
    """Write a command that can be pasted into a shell to standard error."""
    sys.stderr.write(f"{PROGRAM}: {purpose}: {printable(shlex.join(words))}\n")


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Show warnings as single lines, without their location in the source."""

    def show(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
