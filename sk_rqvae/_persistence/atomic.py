"""Files that are replaced in one step: a crash leaves the old or the new one."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sk_rqvae._persistence.regular_files import writable_target

if sys.platform != "win32":
    import fcntl

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)


@contextmanager
def atomic_write(
    path: str | os.PathLike[str], *, permissions_of: Path | None = None
) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` when the block ends.

    The content goes to a temporary file in the same directory, which is renamed at the
    end. If the block raises, the temporary file is removed and `path` is unchanged.
    Temporary files that killed writers of `path` left behind are removed first.

    Parameters
    ----------
    path : str or path-like
        A symbolic link stays, and the file that it leads to is replaced. An existing
        file keeps its permissions.
    permissions_of : Path, optional
        The file whose permissions a new file gets.

    Raises
    ------
    FileNotFoundError
        If the directory does not exist.
    OSError
        If the disk is full; it names `path`.
    ValueError
        If `path` is a directory, FIFO, device or socket. Nothing is written then.
    """
    target = writable_target(path)
    permissions = _permissions(target)
    if permissions is None and permissions_of is not None:
        permissions = _permissions(permissions_of)
    remove_abandoned(target.parent, re.escape(target.name))
    with ExitStack() as unless_done:
        file, temporary = _create_beside(target, permissions)
        unless_done.callback(temporary.unlink, missing_ok=True)
        with _full_disk_names(path), file:
            yield file
            file.flush()
            if permissions is not None:
                temporary.chmod(permissions)
            os.fsync(file.fileno())
            if sys.platform == "win32":  # there, an open file cannot be renamed
                file.close()
            temporary.replace(target)
        unless_done.pop_all()
    _sync_directory(target.parent)


@contextmanager
def _full_disk_names(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name a file in the error of a full disk, which comes from a descriptor."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_IS_FULL or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@dataclass
class Note:
    """A temporary file of what a writer has to do.

    Attributes
    ----------
    file : BinaryIO
    is_done : bool
        Whether nothing is left to do.
    """

    file: BinaryIO
    is_done: bool = False


@contextmanager
def note_beside(path: str | os.PathLike[str]) -> Iterator[Note]:
    """Open a locked temporary file beside `path`, and remove it if all is done.

    If not, or if the process is killed, `abandoned_files` finds it.
    """
    # With the permissions of a read-only file, `abandoned_files` could not open it.
    file, temporary = _create_beside(writable_target(path), 0o600)
    note = Note(file)
    try:
        with file:
            yield note
    finally:
        if note.is_done:
            temporary.unlink(missing_ok=True)


def remove_abandoned(folder: Path, names: str) -> None:
    """Remove temporary files of killed writers; see `abandoned_files`."""
    for temporary in abandoned_files(folder, names):
        temporary.unlink(missing_ok=True)


def abandoned_files(folder: Path, names: str) -> Iterator[Path]:
    """Find temporary files whose writers were killed.

    A writer holds a lock on its temporary file. The operating system releases it when
    the process ends, however it ends, so a file that can be locked has no writer.
    Process numbers and ages would be guesses: numbers are reused and differ between
    containers, and a slow writer is not a dead one. Where the file system has no locks,
    none is found.

    Parameters
    ----------
    folder : Path
    names : str
        Regular expression for the names of the files that were to be written.

    Yields
    ------
    Path
        Locked until the next one is asked for.
    """
    with os.scandir(folder) as entries:
        found = sorted(entry.name for entry in entries)
    for name in found:
        match = _TEMPORARY.fullmatch(name)
        if match and re.fullmatch(names, match[1]):
            with _lock_without_waiting(folder / name) as is_locked:
                if is_locked:
                    yield folder / name


def _permissions(path: Path) -> int | None:
    """Permission bits of a file that exists."""
    with suppress(FileNotFoundError):
        return stat.S_IMODE(path.stat().st_mode)
    return None


def _create_beside(target: Path, permissions: int | None) -> tuple[BinaryIO, Path]:
    """Create and lock a temporary file that nobody may read who may not read `target`.

    Between its creation and its lock, another writer can take it for abandoned and
    remove it; then a new one is made.
    """
    mode = 0o666 if permissions is None else permissions & 0o600
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        file = open(  # noqa: SIM115 - pathlib has no opener
            temporary, "xb", opener=lambda path, flags: os.open(path, flags, mode)
        )
        if sys.platform == "win32":  # there, an open file cannot be removed
            return file, temporary
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file, temporary
        file.close()


@contextmanager
def _lock_without_waiting(path: Path) -> Iterator[bool]:
    """Whether a regular file could be locked, which it is until the block ends."""
    if sys.platform == "win32":
        # Every file is open to its writer, which forbids others to rename it.
        try:
            path.rename(path)
        except OSError:
            yield False
        else:
            yield True
        return
    with ExitStack() as stack:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            is_locked = False
        else:
            is_locked = stat.S_ISREG(os.fstat(descriptor).st_mode)
        yield is_locked


def _sync_directory(folder: Path) -> None:
    """Make a rename last through a loss of power."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
