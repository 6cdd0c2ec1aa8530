"""Refuse what is no file: folders, pipes and devices, which could be read for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def check_regular_file(path: Path) -> None:
    """Raise an error unless there is a regular file.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is a folder, a pipe, a socket or a device.
    """
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} must be a file. Got {_kind(mode)}.")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a pipe; write its content to a file first"
    return "a socket or a device"
