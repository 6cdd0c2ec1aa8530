"""A web server on this machine that serves files from memory, with faults on demand."""

from __future__ import annotations

import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from local_server import local_server


class FileServer:
    """What is served, with which faults, and the requests that were made.

    `files` maps paths to contents. `faults` has one fault for each request: a status,
    or after how many bytes to cut the connection. `requests` has the path of each
    request, with its Range header.
    """

    def __init__(self, url):
        self.url = url
        self.files = {}
        self.faults = []
        self.requests = []
        self.knows_ranges = True
        self.tells_length = True


@contextmanager
def file_server():
    """Run a server until the block ends."""
    with local_server(_Handler) as httpd:
        httpd.served = FileServer(f"http://127.0.0.1:{httpd.server_port}")
        yield httpd.served


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        served = self.server.served
        asked = self.headers["Range"]
        served.requests.append((self.path, asked))
        fault = served.faults.pop(0) if served.faults else None
        content = served.files.get(self.path)
        if content is None or isinstance(fault, Status):
            self.send_error(404 if content is None else fault.code)
            return
        start = 0
        if asked and served.knows_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                self.send_error(416)
                return
        self._send(content, start, served.tells_length, fault)

    def _send(self, content, start, tells_length, fault):
        self.send_response(206 if start else 200)
        if start:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        if tells_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        stop = len(content) if fault is None else start + fault.n_bytes
        self.wfile.write(content[start:stop])

    def log_message(self, *args):
        """Say nothing."""


class Status:
    """Answer with this status."""

    def __init__(self, code):
        self.code = code


class Cut:
    """Send this many bytes and close the connection."""

    def __init__(self, n_bytes):
        self.n_bytes = n_bytes
