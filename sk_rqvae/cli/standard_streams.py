"""Standard input and output, whatever they are connected to."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

_WITHOUT_MARK = "utf-8-sig"  # of the byte order
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def closed_streams_are_null() -> Iterator[None]:
    """Open the null device in place of standard streams that are closed.

    Otherwise the next file would get the number of a closed stream, and with it what
    libraries print there. Messages to a closed standard error are lost; to write to a
    closed standard output is an error.
    """
    with ExitStack() as stack:
        # In the order of their numbers: an open file gets the lowest that is free.
        for name in ("stdin", "stdout", "stderr"):
            if getattr(sys, name) is None:
                stream = stack.enter_context(_null(name))
                stack.callback(setattr, sys, name, None)
                setattr(sys, name, stream)
        yield


def _null(name: str) -> TextIO:
    null = Path(os.devnull)
    if name == "stdout":
        return io.TextIOWrapper(_ClosedFile(null, "wb"), write_through=True)
    return null.open("r" if name == "stdin" else "w")


class _ClosedFile(io.FileIO):
    def write(self, data: Any) -> int:
        raise OSError("Standard output is closed.")


def standard_output() -> TextIO:
    """Standard output, in UTF-8 unless it is a terminal."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        if out.isatty():
            out.reconfigure(errors="backslashreplace")
        else:
            out.reconfigure(encoding="utf-8")
    return out


@contextmanager
def output_errors() -> Iterator[None]:
    """Let the error of a full disk say that it is the one of standard output.

    Raises
    ------
    OSError
        If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        abandon_standard_output()
        raise OSError(error.errno, error.strerror, "standard output") from error


def write_out(text: str) -> None:
    """Write one text to standard output."""
    out = standard_output()
    with output_errors():
        out.write(text)
        out.flush()


def lines_of_standard_input() -> list[str]:
    """The lines without their ends, in UTF-8 unless they are typed at a terminal.

    Raises
    ------
    ValueError
        If they are not UTF-8.
    """
    lines = sys.stdin
    is_file = isinstance(lines, io.TextIOWrapper) and not lines.isatty()
    # The encoding cannot be set again after the first lines.
    if is_file and lines.encoding != _WITHOUT_MARK:
        lines.reconfigure(encoding=_WITHOUT_MARK, errors="strict")  # type: ignore[union-attr]
    try:
        return [line.rstrip("\r\n") for line in lines]
    except UnicodeDecodeError as error:
        raise ValueError(f"Standard input must be UTF-8: {error.reason}.") from error


def abandon_standard_output() -> None:
    """Discard what is not written yet. Python would complain again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
