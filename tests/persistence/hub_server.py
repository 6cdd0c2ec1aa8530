"""A server on this machine with the part of the Hugging Face Hub that models need."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from local_server import local_server


class Hub:
    """The repositories that are stored, and the requests that were made.

    `commits` has, for each repository, its commits: a message and the files. The last
    one is ``main``. Files of at least `lfs_bytes` are uploaded by Git LFS.
    """

    def __init__(self, url):
        self.url = url
        self.commits = {}
        self.large_files = {}
        self.requests = []
        self.lfs_bytes = 5000
        self.before_commit = lambda: None

    def commit(self, repo_id, message, files):
        self.commits.setdefault(repo_id, []).append((message, files))

    def files(self, repo_id, revision="main"):
        return self.commits[repo_id][self.number(repo_id, revision)][1]

    def number(self, repo_id, revision):
        last = len(self.commits[repo_id]) - 1
        return last if revision == "main" else int(revision, 16) - 1

    def sha(self, repo_id, revision="main"):
        return f"{self.number(repo_id, revision) + 1:040x}"


@contextmanager
def hub_server():
    """Run a server until the block ends."""
    with local_server(_Handler) as httpd:
        httpd.served = Hub(f"http://127.0.0.1:{httpd.server_port}")
        yield httpd.served


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._route("GET")

    def do_HEAD(self):
        self._route("HEAD")

    def do_POST(self):
        self._route("POST")

    def do_PUT(self):
        self._route("PUT")

    def _route(self, method):
        hub = self.server.served
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = unquote(urlsplit(self.path).path)
        hub.requests.append((method, path))
        for wanted, pattern, answer in _ROUTES:
            match = re.fullmatch(pattern, path)
            if method in wanted and match:
                answer(self, hub, body, *match.groups())
                return
        self._error(404, "unknown")

    def _repo(self, hub, body, repo_id, revision="main"):
        if repo_id not in hub.commits:
            self._error(404, "RepoNotFound")
            return
        files = [{"rfilename": name} for name in hub.files(repo_id, revision)]
        sha = hub.sha(repo_id, revision)
        self._json({"id": repo_id, "sha": sha, "siblings": files})

    def _create(self, hub, body):
        asked = json.loads(body)
        repo_id = f"{asked['organization'] or 'user'}/{asked['name']}"
        status = 409 if repo_id in hub.commits else 200
        if status == 200:
            hub.commit(repo_id, "initial commit", {".gitattributes": b""})
        self._json({"url": f"{hub.url}/{repo_id}"}, status)

    def _file(self, hub, body, repo_id, revision, name):
        if repo_id not in hub.commits:
            self._error(404, "RepoNotFound")
            return
        content = hub.files(repo_id, revision).get(name)
        headers = {"X-Repo-Commit": hub.sha(repo_id, revision)}
        if content is None:
            self._error(404, "EntryNotFound", headers)
            return
        headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
        self._send(200, content, headers)

    def _tree(self, hub, body, repo_id, revision):
        files = hub.files(repo_id, revision)
        self._json(
            [
                {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
                for name, content in files.items()
            ]
        )

    def _valid(self, hub, body):
        assert json.loads(body)["content"].startswith("---\n")
        self._json({"errors": [], "warnings": []})

    def _preupload(self, hub, body, repo_id, revision):
        answers = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= hub.lfs_bytes else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._json({"files": answers})

    def _lfs_batch(self, hub, body, repo_id):
        objects = [
            {**each, "actions": {"upload": {"href": f"{hub.url}/lfs/{each['oid']}"}}}
            for each in json.loads(body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects})

    def _lfs_put(self, hub, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        hub.large_files[oid] = body
        self._send(200, b"", {})

    def _commit(self, hub, body, repo_id, revision):
        hub.before_commit()
        message, files = "", dict(hub.files(repo_id, revision))
        for line in body.splitlines():
            key, value = json.loads(line).values()
            if key == "header":
                message = value["summary"]
                if value["parentCommit"] != hub.sha(repo_id):
                    self._error(412, "unknown")
                    return
            elif key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = hub.large_files[value["oid"]]
            else:
                assert key == "deletedFile"
                del files[value["path"]]
        hub.commit(repo_id, message, files)
        sha = hub.sha(repo_id)
        self._json(
            {
                "success": True,
                "commitOid": sha,
                "commitUrl": f"{hub.url}/{repo_id}/commit/{sha}",
            }
        )

    def _json(self, value, status=200):
        headers = {"Content-Type": "application/json"}
        self._send(status, json.dumps(value).encode(), headers)

    def _error(self, status, code, headers=None):
        self._send(status, b"{}", {"X-Error-Code": code, **(headers or {})})

    def _send(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *args):
        """Say nothing."""


_ID = r"([\w.-]+/[\w.-]+)"
_ROUTES = [
    (("POST",), "/api/repos/create", _Handler._create),
    (("POST",), "/api/validate-yaml", _Handler._valid),
    (("POST",), rf"/api/models/{_ID}/preupload/(\w+)", _Handler._preupload),
    (("POST",), rf"/api/models/{_ID}/commit/(\w+)", _Handler._commit),
    (("POST",), rf"/{_ID}\.git/info/lfs/objects/batch", _Handler._lfs_batch),
    (("PUT",), r"/lfs/(\w+)", _Handler._lfs_put),
    (("GET",), rf"/api/models/{_ID}/tree/(\w+)", _Handler._tree),
    (("GET",), rf"/api/models/{_ID}/revision/(\w+)", _Handler._repo),
    (("GET",), rf"/api/models/{_ID}", _Handler._repo),
    (("GET", "HEAD"), rf"/{_ID}/resolve/(\w+)/([\w.-]+)", _Handler._file),
]
