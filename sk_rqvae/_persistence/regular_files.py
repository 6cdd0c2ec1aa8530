"""Paths that may lead to something other than a regular file."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a file for reading; a FIFO or a device could make the reader wait for ever.

    Raises
    ------
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If `path` is a directory, FIFO, device or socket.
    """
    return open(path, "rb", opener=_open_if_regular)


def read_regular_file(path: str | os.PathLike[str]) -> bytes:
    """Read a file as `open_regular_file` opens it."""
    with open_regular_file(path) as file:
        return file.read()


def writable_target(path: str | os.PathLike[str]) -> Path:
    """The file that a write to `path` replaces: symbolic links are followed.

    Call it before long work whose result goes to `path`.

    Returns
    -------
    Path
        It may not exist yet.

    Raises
    ------
    FileNotFoundError
        If its directory does not exist.
    ValueError
        If it is a directory, FIFO, device or socket, or has no name.
    """
    if not os.fspath(path):
        raise ValueError(f"The path of a file must have a name. Got {path!r}.")
    target = Path(os.path.realpath(path))
    with suppress(FileNotFoundError):
        kind = _other_kind(target.stat())
        if kind is not None:
            raise ValueError(f"{path} is {kind} and cannot be replaced by a file.")
        return target
    target.parent.stat()
    return target


def _open_if_regular(path: str, flags: int) -> int:
    """Check the open file: what a path leads to can change between two calls."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    kind = _other_kind(os.fstat(descriptor))
    if kind is not None:
        os.close(descriptor)
        raise ValueError(f"{path} is {kind}, expected a file.")
    return descriptor


def _other_kind(status: os.stat_result) -> str | None:
    """Name the kind of a path that is not a regular file."""
    return _KINDS.get(stat.S_IFMT(status.st_mode))
