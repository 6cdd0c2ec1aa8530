"""A lock that one process and thread at a time holds to write a file."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO
from weakref import ref

if sys.platform != "win32":
    import fcntl


class LockBeside:
    """Keeps others from writing a file: a lock on an empty file beside it.

    If the process is killed, the operating system releases the lock once children that
    were forked meanwhile have ended too. An interrupt leaves nothing held: whatever
    holds the lock is closed with it. filelock counts its locks in each process and an
    interrupt can leave such a count too high, so it is used only where there is no
    `flock`. A thread that locked a file twice, in a signal handler for instance, would
    wait for itself for ever, so that is a RuntimeError.

    Parameters
    ----------
    target : Path
        The file that is to be written.
    """

    def __init__(self, target: Path) -> None:
        self._path = lock_path(target)
        self._held = ExitStack()

    def __enter__(self) -> None:
        with ExitStack() as stack:
            if sys.platform == "win32" or not _flock(self._path, stack):
                # It imports asyncio, which a program that never saves does not need.
                filelock = importlib.import_module("filelock")
                stack.enter_context(filelock.FileLock(self._path))
            # Who waits for the removed file tries again.
            stack.callback(_remove, self._path)
            self._held = stack.pop_all()

    def __exit__(self, *error: object) -> None:
        self._held.close()


def lock_path(target: Path) -> Path:
    """The empty file that is locked while `target` is written."""
    return target.with_name(f".{target.name}.lock")


class _FilesOfThread(threading.local):
    """The lock files that a thread has open: those it waits for, and those it holds.

    A lock counts as held while its file is open. So an interrupt, which closes the
    file, leaves nothing here.
    """

    def __init__(self) -> None:
        self._files: dict[tuple[int, Path], ref[BinaryIO]] = {}

    def check_closed(self, path: Path) -> None:
        """Raise if the thread would wait for itself."""
        if self._is_open(self._key(path)):
            raise RuntimeError(
                f"{path} is locked by this thread already. A signal handler or a "
                "finalizer must not write what the thread is writing."
            )

    def add(self, path: Path, file: BinaryIO) -> None:
        """Note a file that was opened."""
        known = {key: each for key, each in self._files.items() if self._is_open(key)}
        self._files = known | {self._key(path): ref(file)}

    def _is_open(self, key: tuple[int, Path]) -> bool:
        found = self._files.get(key)
        file = None if found is None else found()
        return file is not None and not file.closed

    def _key(self, path: Path) -> tuple[int, Path]:
        return os.getpid(), path.resolve()  # whatever links lead to it


# Module level, because a signal handler knows no object of the writer.
_FILES = _FilesOfThread()


def _flock(path: Path, stack: ExitStack) -> bool:
    """Lock a file until a stack is closed; False if its file system has no locks."""
    _FILES.check_closed(path)
    while sys.platform != "win32":
        with ExitStack() as attempt:
            file, is_new = _opened(path)
            attempt.enter_context(file)
            _FILES.add(path, file)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno != errno.ENOSYS:
                    raise
                # filelock takes a file that exists for a lock that somebody holds.
                if is_new and os.fstat(file.fileno()).st_nlink:
                    path.unlink(missing_ok=True)
                return False
            # The one who held the lock before may have removed the file.
            if os.fstat(file.fileno()).st_nlink:
                # A process that was forked meanwhile has the file open too.
                attempt.callback(fcntl.flock, file, fcntl.LOCK_UN)
                stack.enter_context(attempt.pop_all())
                return True
    return False


def _opened(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file, and say whether it was made for that."""
    try:
        return open(path, "xb", opener=_without_link), True
    except FileExistsError:
        pass
    try:
        return open(path, "ab", opener=_without_link), False
    except PermissionError:
        # That of another user. To lock a local file, it need not be writable.
        with suppress(FileNotFoundError):
            return open(path, "rb", opener=_without_link), False
    return _opened(path)


def _remove(path: Path) -> None:
    # In some folders, such as /tmp, only its owner may. It does no harm there.
    with suppress(PermissionError):
        path.unlink(missing_ok=True)


def _without_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)
