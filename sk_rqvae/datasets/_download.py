"""Download gzip files: resumable, atomic, and verified by SHA-256."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.client
import os
import re
import stat
import time
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from sk_rqvae._persistence.atomic import atomic_write
from sk_rqvae._persistence.file_lock import LockBeside

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 2**20
# Far above every file of the data. A faulty server must not fill the disk.
_MAX_COMPRESSED_BYTES = 16 * 2**30
_MAX_DECOMPRESSED_BYTES = 128 * 2**30
_MAX_CHECKSUM_FILE_BYTES = 4096
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416
_RETRYABLE_CLIENT_ERRORS = (408, 425, 429)


class _DownloadError(OSError):
    """The server did not send the file. A partial download is kept for a retry."""

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


def fetch_gzip(
    url: str,
    path: Path,
    *,
    download_if_missing: bool,
    n_retries: int,
    delay: float,
) -> None:
    """Download the gzip file at `url` to `path`, unless it is there already.

    The SHA-256 of the first complete file is written beside it, and every later file
    must match. Data are downloaded to a ``.part`` file, which is renamed when it is
    complete. After a connection error the ``.part`` file is kept, and the next call
    resumes it. After a disk error it is removed. A lock file makes concurrent calls
    wait for each other, in other processes too.

    Raises
    ------
    OSError
        If the file is missing and cannot be downloaded, is not a regular file, is too
        large, or does not match the SHA-256 of the first download.

    Warns
    -----
    UserWarning
        If a failed download is tried again, or a damaged file is replaced.
    """
    if _is_valid(path, download_if_missing):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with LockBeside(path):
        # Another process may have downloaded it in the meantime.
        if path.exists() and _problem(path) is None:
            return
        part = path.with_name(f"{path.name}.part")
        try:
            _download(url, part, n_retries, delay)
        except _DownloadError:
            raise
        except OSError as error:
            part.unlink(missing_ok=True)
            if error.errno is None:
                raise
            raise OSError(error.errno, error.strerror, str(part)) from error
        _verify_download(part, path, url)
        part.replace(path)


def _is_valid(path: Path, download_if_missing: bool) -> bool:
    problem = _problem(path) if path.exists() else "is missing"
    if problem is None:
        return True
    if not download_if_missing:
        raise OSError(f"{path} {problem}, and download_if_missing is False.")
    if path.exists():
        warnings.warn(f"{path} {problem}. It is downloaded again.", stacklevel=4)
    return False


def _problem(path: Path) -> str | None:
    """Describe what is wrong with an existing file, or return None.

    A file without a recorded checksum is trusted if it is a complete gzip file. Its
    checksum is then recorded, if the folder can be written to.
    """
    if not path.is_file():
        raise OSError(
            f"{path} must be a regular file. Got a folder, a pipe or a device."
        )
    expected = _recorded_checksum(path)
    if expected is None:
        if not _is_complete_gzip(path):
            return "is not a complete gzip file"
        # Nobody changes a file in a folder that is read-only.
        with _unless_read_only():
            _record_checksum(path, _sha256(path))
    elif _sha256(path) != expected:
        return f"differs from the first download, whose SHA-256 is {expected}"
    return None


@contextmanager
def _unless_read_only() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise


def _verify_download(part: Path, path: Path, url: str) -> None:
    """Compare a download with the recorded checksum, or record its own."""
    digest, expected = _sha256(part), _recorded_checksum(path)
    if expected is None:
        _record_checksum(path, digest)
    elif digest != expected:
        part.unlink()
        raise OSError(
            f"{url} differs from the first download: its SHA-256 is {digest}, expected "
            f"{expected}. To accept the new file, remove {_checksum_path(path)}."
        )


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _recorded_checksum(path: Path) -> str | None:
    checksum_path = _checksum_path(path)
    if not checksum_path.exists():
        return None
    if not checksum_path.is_file():
        raise OSError(f"{checksum_path} must be a regular file.")
    with checksum_path.open("rb") as file:
        content = file.read(_MAX_CHECKSUM_FILE_BYTES)
    digest = content.decode("utf-8", "replace").partition(" ")[0]
    if not _SHA256.fullmatch(digest):
        raise OSError(
            f"{checksum_path} must begin with a SHA-256. Got {digest[:80]!r}."
        )
    return digest


def _record_checksum(path: Path, digest: str) -> None:
    """Write the checksum in the format of ``sha256sum``."""
    with atomic_write(_checksum_path(path)) as file:
        file.write(f"{digest}  {path.name}\n".encode())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_complete_gzip(path: Path) -> bool:
    """Decompress a file to its end, which verifies its CRC."""
    n_bytes = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                n_bytes += len(chunk)
                if n_bytes > _MAX_DECOMPRESSED_BYTES:
                    raise OSError(
                        f"{path} must decompress to at most "
                        f"{_MAX_DECOMPRESSED_BYTES} bytes. Got more."
                    )
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return False
    return path.stat().st_size > 0


def _download(url: str, part: Path, n_retries: int, delay: float) -> None:
    for retries_left in reversed(range(n_retries + 1)):
        try:
            _resume(url, part)
            return
        except _DownloadError as error:
            if not (retries_left and error.retryable):
                raise
            warnings.warn(f"{error} Trying again.", stacklevel=4)
            time.sleep(delay)


def _resume(url: str, part: Path) -> None:
    """Download the rest of the file at `url` to `part`."""
    if part.exists() and stat.S_ISFIFO(part.stat().st_mode):
        raise _DownloadError(
            f"{part} must be a regular file. Got a pipe.", retryable=False
        )
    start = part.stat().st_size if part.exists() else 0
    with _request(url, start) as response:
        if response.status != _RANGE_NOT_SATISFIABLE:
            resumed = response.status == _PARTIAL_CONTENT
            with part.open("ab" if resumed else "wb") as file:
                for chunk in _chunks(url, response):
                    file.write(chunk)
                    if file.tell() > _MAX_COMPRESSED_BYTES:
                        raise OSError(
                            f"{url} must send at most {_MAX_COMPRESSED_BYTES} bytes. "
                            "Got more."
                        )
                file.flush()
                os.fsync(file.fileno())
    # This also detects parts of two versions of the file.
    if not _is_complete_gzip(part):
        part.unlink()
        raise _DownloadError(f"{url} did not send a complete gzip file.")


class _NoDowngrade(HTTPRedirectHandler):
    """Follow redirects, but never from https to a scheme without encryption."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if req.type == "https" and not newurl.startswith("https://"):
            raise _DownloadError(
                f"{req.full_url} redirects to {newurl}, which is not encrypted.",
                retryable=False,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str, start: int) -> Any:
    """Request the bytes of `url` from position `start` on."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    opener = build_opener(_NoDowngrade)
    try:
        return opener.open(Request(url, headers=headers), timeout=_TIMEOUT_SECONDS)
    except _DownloadError:
        raise
    except HTTPError as error:
        if error.code == _RANGE_NOT_SATISFIABLE:
            return error
        error.close()
        raise _DownloadError(
            f"{url} cannot be downloaded: the server answers {error.code} "
            f"{error.reason}.",
            retryable=error.code >= 500 or error.code in _RETRYABLE_CLIENT_ERRORS,
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise _DownloadError(f"{url} cannot be reached: {error}.") from error


def _chunks(url: str, response: Any) -> Iterator[bytes]:
    """Yield the body of a response, and check that it has the announced length."""
    missing = response.length
    while True:
        try:
            chunk = response.read(_CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _DownloadError(f"{url} was interrupted: {error}.") from error
        if not chunk:
            break
        yield chunk
        missing = None if missing is None else missing - len(chunk)
    if missing:
        raise _DownloadError(f"{url} was interrupted {missing} bytes before its end.")
