"""Downloads from a local server with simulated faults."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseRequestHandler
from urllib.request import Request

import pytest
from file_server import Cut, Status, file_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_server import local_server

from sk_rqvae.datasets import _download as download
from sk_rqvae.datasets._download import fetch_gzip

CONTENT = gzip.compress(os.urandom(50_000), mtime=0)
OTHER = gzip.compress(b"something else", mtime=0)

needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no /dev/full"
)


@pytest.fixture
def server():
    with file_server() as served:
        served.files["/items.gz"] = CONTENT
        yield served


@pytest.fixture
def path(tmp_path):
    return tmp_path / "home" / "items.gz"


def fetch(server, path, **changes):
    arguments = {"download_if_missing": True, "n_retries": 0, "delay": 0} | changes
    fetch_gzip(f"{server.url}/items.gz", path, **arguments)


def names(folder):
    """File names in a folder, without the lock file."""
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def ranges(server):
    return [asked for _, asked in server.requests]


def part_of(path):
    return path.with_name("items.gz.part")


def test_a_download_writes_the_file_and_its_checksum_only(server, path):
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["items.gz", "items.gz.sha256"]
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert (path.parent / "items.gz.sha256").read_text() == f"{digest}  items.gz\n"


def test_a_download_without_faults_warns_of_nothing(server, path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fetch(server, path)


def test_an_existing_file_is_not_downloaded_again(server, path):
    fetch(server, path)
    fetch(server, path)
    fetch(server, path, download_if_missing=False)
    assert len(server.requests) == 1


def test_a_missing_file_is_an_error_without_download_if_missing(server, path):
    with pytest.raises(OSError, match=r"items\.gz is missing, and download_if_missing"):
        fetch(server, path, download_if_missing=False)
    assert server.requests == []
    assert not path.parent.exists()


@pytest.mark.parametrize("code", [403, 404, 410])
def test_client_errors_are_not_retried(server, path, code):
    server.faults = [Status(code)]
    with pytest.raises(OSError, match=f"items.gz cannot be downloaded: .* {code} "):
        fetch(server, path, n_retries=3)
    assert len(server.requests) == 1
    assert names(path.parent) == []


@pytest.mark.parametrize("code", [429, 500, 503])
def test_server_errors_are_retried(server, path, code):
    server.faults = [Status(code)]
    with pytest.warns(UserWarning, match=f"{code} .* Trying again"):
        fetch(server, path, n_retries=1)
    assert path.read_bytes() == CONTENT


def test_the_number_of_retries_is_limited(server, path):
    server.faults = [Status(503)] * 3
    again = pytest.warns(UserWarning, match="Trying again")
    with again, pytest.raises(OSError, match="503"):
        fetch(server, path, n_retries=2)
    assert len(server.requests) == 3


def test_retries_wait_for_the_delay(server, path, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    server.faults = [Status(503), Status(429)]
    with pytest.warns(UserWarning, match="Trying again"):
        fetch(server, path, n_retries=3, delay=2.5)
    assert waits == [2.5, 2.5]


def test_an_unreachable_server_is_an_error_that_names_the_url(server, path):
    server.url = "http://127.0.0.1:1"
    with pytest.raises(OSError, match=r"127\.0\.0\.1:1/items\.gz cannot be reached"):
        fetch(server, path)


class RawServer:
    """Answers each request with the same bytes, which may be none."""

    def __init__(self, url, answer):
        self.url = url
        self.answer = answer
        self.n_requests = 0


class RawHandler(BaseRequestHandler):
    def handle(self):
        served = self.server.served
        served.n_requests += 1
        self.request.recv(10_000)
        self.request.sendall(served.answer)
        self.request.recv(1)  # the client ends the connection


@contextmanager
def raw_server(answer):
    with local_server(RawHandler) as httpd:
        httpd.served = RawServer(f"http://127.0.0.1:{httpd.server_port}", answer)
        yield httpd.served


def test_an_answer_that_is_not_http_is_an_error_that_is_retried(path):
    with (
        raw_server(b"hello\r\n\r\n") as server,
        pytest.warns(UserWarning, match="Trying again"),
        pytest.raises(OSError, match=r"items\.gz cannot be reached: .*hello"),
    ):
        fetch(server, path, n_retries=1)
    assert server.n_requests == 2


@pytest.mark.timeout(30)
def test_a_server_that_does_not_answer_is_given_up(path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.2)
    with raw_server(b"") as server, pytest.raises(OSError, match="timed out"):
        fetch(server, path)


def test_a_retry_resumes_an_interrupted_download(server, path):
    server.faults = [Cut(20_000), Cut(10_000)]
    with pytest.warns(UserWarning, match="was interrupted"):
        fetch(server, path, n_retries=2)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=20000-", "bytes=30000-"]


def test_a_later_call_resumes_a_failed_download(server, path):
    server.faults = [Cut(20_000)]
    with pytest.raises(OSError, match=f"{len(CONTENT) - 20_000} bytes before its end"):
        fetch(server, path)
    assert names(path.parent) == ["items.gz.part"]
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=20000-"]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(cuts=st.lists(st.integers(0, len(CONTENT) // 3), max_size=4))
def test_interruptions_never_change_the_downloaded_file(server, path, cuts):
    for left in path.parent.glob("*"):
        left.unlink()
    server.faults = [Cut(n_bytes) for n_bytes in cuts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fetch(server, path, n_retries=4)
    assert path.read_bytes() == CONTENT


def test_without_range_support_the_download_restarts(server, path):
    server.knows_ranges = False
    server.faults = [Cut(20_000)]
    with pytest.warns(UserWarning, match="was interrupted"):
        fetch(server, path, n_retries=1)
    assert path.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=20000-"]


def test_truncation_is_detected_without_a_content_length(server, path):
    server.tells_length = False
    server.faults = [Cut(20_000)]
    with pytest.raises(OSError, match="did not send a complete gzip file"):
        fetch(server, path)
    assert names(path.parent) == []
    fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_parts_of_two_server_versions_are_never_joined(server, path):
    server.faults = [Cut(20_000)]
    with pytest.raises(OSError, match="was interrupted"):
        fetch(server, path)
    newer = gzip.compress(os.urandom(50_000), mtime=0)
    server.files["/items.gz"] = newer
    with pytest.warns(UserWarning, match="not send a complete gzip file"):
        fetch(server, path, n_retries=1)
    assert path.read_bytes() == newer


def test_a_complete_part_file_is_used(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT)
    fetch(server, path)
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["items.gz", "items.gz.sha256"]


def test_a_part_file_that_is_too_long_is_downloaded_again(server, path):
    path.parent.mkdir()
    part_of(path).write_bytes(CONTENT + b"more")
    with pytest.warns(UserWarning, match="Trying again"):
        fetch(server, path, n_retries=1)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("page", [b"<html>log in first</html>", b""])
def test_a_response_that_is_not_gzip_is_an_error(server, path, page):
    server.files["/items.gz"] = page
    with pytest.raises(OSError, match="did not send a complete gzip file"):
        fetch(server, path)
    assert names(path.parent) == []


def test_a_damaged_file_is_replaced_by_the_original(server, path):
    fetch(server, path)
    path.write_bytes(OTHER)
    with pytest.raises(OSError, match="differs from the first download"):
        fetch(server, path, download_if_missing=False)
    with pytest.warns(UserWarning, match="is downloaded again"):
        fetch(server, path)
    assert path.read_bytes() == CONTENT


def test_a_download_with_another_checksum_is_rejected(server, path):
    fetch(server, path)
    path.unlink()
    server.files["/items.gz"] = OTHER
    with pytest.raises(OSError, match=r"To accept the new file, remove .*\.sha256"):
        fetch(server, path)
    assert names(path.parent) == ["items.gz.sha256"]
    (path.parent / "items.gz.sha256").unlink()
    fetch(server, path)
    assert path.read_bytes() == OTHER


def test_a_file_copied_by_hand_is_trusted_once_and_verified_later(server, path):
    path.parent.mkdir()
    path.write_bytes(OTHER)
    fetch(server, path)
    assert server.requests == []
    path.write_bytes(CONTENT)
    with pytest.raises(OSError, match="differs from the first download"):
        fetch(server, path, download_if_missing=False)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_file_copied_by_hand_may_be_in_a_folder_that_is_read_only(
    server, path, monkeypatch, number
):
    def refuse(path):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(download, "atomic_write", refuse)
    path.parent.mkdir()
    path.write_bytes(OTHER)
    fetch(server, path, download_if_missing=False)
    fetch(server, path)
    assert server.requests == []


def test_a_checksum_that_cannot_be_recorded_is_an_error(server, path, monkeypatch):
    def refuse(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(download, "atomic_write", refuse)
    path.parent.mkdir()
    path.write_bytes(OTHER)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        fetch(server, path)


def test_a_truncated_file_copied_by_hand_is_not_trusted(server, path):
    path.parent.mkdir()
    path.write_bytes(OTHER[:-4])
    with pytest.raises(OSError, match="is not a complete gzip file"):
        fetch(server, path, download_if_missing=False)
    with pytest.warns(UserWarning, match="is downloaded again"):
        fetch(server, path)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"wrong", b"\xff" * 64, b"0" * 65])
def test_an_invalid_checksum_file_is_an_error_that_names_it(server, path, content):
    fetch(server, path)
    (path.parent / "items.gz.sha256").write_bytes(content)
    with pytest.raises(OSError, match=r"items\.gz\.sha256 must begin with a SHA"):
        fetch(server, path)


@needs_full_device
def test_a_full_disk_is_an_error_and_leaves_no_file(server, path):
    fill_disk(path)
    with pytest.raises(OSError, match=r"No space left on device: .*items\.gz\.part"):
        fetch(server, path, n_retries=3)
    assert names(path.parent) == []
    assert len(server.requests) == 1


@needs_full_device
def test_a_full_disk_keeps_the_existing_file(server, path):
    fetch(server, path)
    path.write_bytes(OTHER)
    fill_disk(path)
    again = pytest.warns(UserWarning, match="downloaded again")
    with again, pytest.raises(OSError, match="No space left"):
        fetch(server, path)
    assert path.read_bytes() == OTHER
    assert names(path.parent) == ["items.gz", "items.gz.sha256"]


def test_concurrent_calls_download_once(server, path):
    threads = [threading.Thread(target=fetch, args=(server, path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert names(path.parent) == ["items.gz", "items.gz.sha256"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("name", ["items.gz", "items.gz.part", "items.gz.sha256"])
def test_a_named_pipe_is_an_error_and_is_never_opened(server, path, name):
    path.parent.mkdir()
    if name.endswith("sha256"):
        path.write_bytes(CONTENT)
    os.mkfifo(path.with_name(name))
    with pytest.raises(OSError, match=f"{name} must be a regular file"):
        fetch(server, path)


def test_a_folder_in_place_of_the_file_is_an_error(server, path):
    path.mkdir(parents=True)
    with pytest.raises(OSError, match=r"items\.gz must be a regular file"):
        fetch(server, path)


def test_a_file_that_decompresses_to_an_absurd_size_is_an_error(
    server, path, monkeypatch
):
    monkeypatch.setattr(download, "_MAX_DECOMPRESSED_BYTES", 10**6)
    server.files["/items.gz"] = gzip.compress(bytes(5 * 10**6))
    with pytest.raises(OSError, match="must decompress to at most 1000000 bytes"):
        fetch(server, path, n_retries=3)
    assert names(path.parent) == []
    assert len(server.requests) == 1


def test_a_download_of_absurd_size_is_stopped(server, path, monkeypatch):
    monkeypatch.setattr(download, "_MAX_COMPRESSED_BYTES", 30_000)
    monkeypatch.setattr(download, "_CHUNK_BYTES", 10_000)
    with pytest.raises(OSError, match="must send at most 30000 bytes"):
        fetch(server, path, n_retries=3)
    assert names(path.parent) == []
    assert len(server.requests) == 1


def test_a_redirect_from_https_to_http_is_not_followed():
    handler = download._NoDowngrade()
    encrypted = Request("https://example.org/items.gz")
    with pytest.raises(OSError, match=r"http://example\.org/.* is not encrypted"):
        handler.redirect_request(
            encrypted, None, 302, "Found", {}, "http://example.org/items.gz"
        )
    followed = handler.redirect_request(
        encrypted, None, 302, "Found", {}, "https://example.org/other.gz"
    )
    assert followed.full_url == "https://example.org/other.gz"


def test_a_redirect_that_is_refused_is_not_retried(server, path, monkeypatch):
    refused = download._DownloadError("not encrypted", retryable=False)

    class Opener:
        def open(self, request, timeout):
            raise refused

    monkeypatch.setattr(download, "build_opener", lambda handler: Opener())
    with pytest.raises(OSError, match=r"^not encrypted$") as caught:
        fetch(server, path, n_retries=3)
    assert caught.value is refused


def fill_disk(path):
    """Make the download write to a device that is always full."""
    path.parent.mkdir(exist_ok=True)
    part_of(path).symlink_to("/dev/full")
