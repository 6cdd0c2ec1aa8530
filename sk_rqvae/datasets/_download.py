"""Gzip files from the web that arrive whole or not at all, and stay as they were."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import re
import time
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock

from sk_rqvae._persistence.atomic import atomic_write

_SECONDS_OF_SILENCE = 30
_BYTES_AT_ONCE = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
_BUSY = (408, 425, 429)


class _Unreachable(OSError):
    """The server did not send the file; what it sent may be kept, to go on from."""

    def __init__(self, message: str, *, worth_a_retry: bool = True) -> None:
        super().__init__(message)
        self.worth_a_retry = worth_a_retry


def fetch_gzip(
    url: str,
    path: Path,
    *,
    download_if_missing: bool,
    n_retries: int,
    delay: float,
) -> None:
    """Have the gzip file at `url` in `path`, as it was when it first came there.

    The SHA-256 of the first whole file is written beside it and holds for ever after.
    A download goes to a ``.part`` file, which is renamed when it is complete. Where the
    connection fails, that file stays, and the next call goes on from it; where the disk
    fails, it is removed. Calls at the same time, of other processes too, wait for each
    other.

    Raises
    ------
    OSError
        If there is no such file and none can be had, or it is another one than first.

    Warns
    -----
    UserWarning
        If the connection failed and is tried again, or a damaged file is replaced.
    """
    if _usable(path, download_if_missing):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        # Another process may have brought it meanwhile.
        if path.exists() and _problem(path) is None:
            return
        part = path.with_name(f"{path.name}.part")
        try:
            _download(url, part, n_retries, delay)
        except _Unreachable:
            raise
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(part)) from error
        _check_is_first(part, path, url)
        part.replace(path)


def _usable(path: Path, download_if_missing: bool) -> bool:
    problem = _problem(path) if path.exists() else "is missing"
    if problem is None:
        return True
    if not download_if_missing:
        raise OSError(f"{path} {problem}, and download_if_missing is False.")
    if path.exists():
        warnings.warn(f"{path} {problem}. It is downloaded again.", stacklevel=4)
    return False


def _problem(path: Path) -> str | None:
    """What is wrong with a file, which is trusted on first use."""
    first = _first_checksum(path)
    if first is None:
        if not _is_whole(path):
            return "is not a whole gzip file"
        _keep_checksum(path, _sha256(path))
    elif _sha256(path) != first:
        return f"is not the file that came first: its SHA-256 is not {first}"
    return None


def _check_is_first(part: Path, path: Path, url: str) -> None:
    """Compare a complete download with the checksum of the first, or keep its own."""
    digest, first = _sha256(part), _first_checksum(path)
    if first is None:
        _keep_checksum(path, digest)
    elif digest != first:
        part.unlink()
        raise OSError(
            f"{url} is not the file that came first: its SHA-256 is {digest}, expected "
            f"{first}. If the change is meant, remove {_checksum_path(path)}."
        )


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _first_checksum(path: Path) -> str | None:
    beside = _checksum_path(path)
    if not beside.exists():
        return None
    digest = beside.read_text(encoding="utf-8").partition(" ")[0]
    if not _SHA256.fullmatch(digest):
        raise OSError(f"{beside} does not begin with a SHA-256. Got {digest[:80]!r}.")
    return digest


def _keep_checksum(path: Path, digest: str) -> None:
    """Write the checksum in the format of ``sha256sum``."""
    with atomic_write(_checksum_path(path)) as file:
        file.write(f"{digest}  {path.name}\n".encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_whole(path: Path) -> bool:
    """Whether a file is gzip data to its end, with the right check sums."""
    try:
        with gzip.open(path) as file:
            while file.read(_BYTES_AT_ONCE):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return path.stat().st_size > 0


def _download(url: str, part: Path, n_retries: int, delay: float) -> None:
    for retries_left in reversed(range(n_retries + 1)):
        try:
            _go_on(url, part)
            return
        except _Unreachable as error:
            if not (retries_left and error.worth_a_retry):
                raise
            warnings.warn(f"{error} Trying again.", stacklevel=4)
            time.sleep(delay)


def _go_on(url: str, part: Path) -> None:
    """Download what `part` lacks of the file at `url`."""
    start = part.stat().st_size if part.exists() else 0
    with _ask(url, start) as answer:
        if answer.status != _RANGE_NOT_SATISFIABLE:
            resumed = answer.status == _PARTIAL_CONTENT
            with part.open("ab" if resumed else "wb") as file:
                for block in _blocks(url, answer):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
    # A server that goes on from another place, or has another file by now, shows here.
    if not _is_whole(part):
        part.unlink()
        raise _Unreachable(f"{url} did not send a whole gzip file.")


def _ask(url: str, start: int) -> Any:
    """The server's answer to a request for the bytes from `start` on."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        return urlopen(Request(url, headers=headers), timeout=_SECONDS_OF_SILENCE)
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:
            return error
        error.close()
        raise _Unreachable(
            f"{url} cannot be had: the server answers {error.code} {error.reason}.",
            worth_a_retry=error.code >= 500 or error.code in _BUSY,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _Unreachable(f"{url} cannot be reached: {error}.") from error


def _blocks(url: str, answer: Any) -> Iterator[bytes]:
    """What the server sends, to the end that it announced."""
    left = answer.length
    while True:
        try:
            block = answer.read(_BYTES_AT_ONCE)
        except (OSError, http.client.HTTPException) as error:
            raise _Unreachable(f"{url} was cut: {error}.") from error
        if not block:
            break
        yield block
        left = None if left is None else left - len(block)
    if left:
        raise _Unreachable(f"{url} was cut {left} bytes before its end.")
