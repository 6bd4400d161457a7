"""A server on the loopback that speaks the hub's protocol, as far as it is needed, and its faults on demand.

As https://huggingface.co answers: commits and trees below /api, pages of trees by Link headers, large files behind a
redirect from /resolve to another host's storage that answers ranges, small ones without; errors by X-Error-Code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGE = 3  # entries of a tree in one answer


@dataclass
class Hub:
    """What the server has, and what it does wrong; each list of faults is used up from its front."""

    repository: str
    commit: str
    files: dict[str, bytes]
    faults: dict[str, list[str]] = field(default_factory=dict)
    """by path: 'cut N' closes after N bytes, 'reset N' resets then, 'hang N' waits then, 'flip' changes a byte,
    'short' leaves the end out and says so, 'page' answers with a web page, 'STATUS' with that status"""
    gives: str = ""
    """another commit that it answers with"""
    small: int = 1000
    """[bytes] files below are no large files"""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """path and range of every request for content"""
    endpoint: str = ""
    released: threading.Event = field(default_factory=threading.Event)

    def ranges(self, path: str) -> list[str | None]:
        """The ranges that were asked for of one file."""
        return [asked for name, asked in self.requests if name == path]


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serves `hub` at its `endpoint`."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.endpoint = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.released.set()
            server.shutdown()
            thread.join()


def entry(path: str, content: bytes, small: int) -> dict[str, object]:
    """A file as the hub's tree lists it."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    facts: dict[str, object] = {"type": "file", "oid": blob, "size": len(content), "path": path}
    if len(content) >= small:
        facts["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return facts


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        repository = re.escape(self.hub.repository)
        if found := re.fullmatch(rf"/api/datasets/{repository}/revision/([^/]+)", url.path):
            self._revision(found[1])
        elif found := re.fullmatch(rf"/api/datasets/{repository}/tree/([^/]+)(?:/(.+))?", url.path):
            self._tree(found[1], found[2], int(parse_qs(url.query).get("cursor", ["0"])[0]))
        elif found := re.fullmatch(rf"/datasets/{repository}/resolve/([^/]+)/(.+)", url.path):
            self._resolve(found[1], found[2])
        elif url.path.startswith("/storage/"):
            self._content(url.path.removeprefix("/storage/"))
        else:
            self._error(401, "RepoNotFound", "Repository not found")

    def _revision(self, revision: str) -> None:
        if revision not in (self.hub.commit, "main"):
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return self._json({"id": self.hub.repository, "sha": self.hub.gives or self.hub.commit, "tags": []})

    def _tree(self, revision: str, folder: str | None, start: int) -> None:
        if revision != self.hub.commit:
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        below = [p for p in sorted(self.hub.files) if folder is None or p.startswith(f"{folder}/")]
        if folder and not below:
            return self._error(404, "EntryNotFound", f"{folder} does not exist")
        page = [entry(path, self.hub.files[path], self.hub.small) for path in below[start : start + PAGE]]
        where = urlsplit(self.path).path
        link = f'<{self.hub.endpoint}{where}?recursive=True&cursor={start + PAGE}>; rel="next"'
        return self._json(page, {"Link": link} if start + PAGE < len(below) else {})

    def _resolve(self, revision: str, path: str) -> None:
        if revision != self.hub.commit:
            return self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if path not in self.hub.files:
            return self._error(404, "EntryNotFound", "Entry not found")
        content = self.hub.files[path]
        if len(content) < self.hub.small:
            return self._content(path)
        self.send_response(302)
        self.send_header("Location", f"{self.hub.endpoint}/storage/{path}")
        self.send_header("X-Repo-Commit", revision)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def _content(self, path: str) -> None:
        asked = self.headers.get("Range")
        self.hub.requests.append((path, asked))
        faults = self.hub.faults.get(path, [])
        fault, _, number = (faults.pop(0) if faults else "").partition(" ")
        if fault.isdigit():
            return self._error(int(fault), "", "fault")
        content = self.hub.files[path]
        if fault == "flip":
            content = bytes([content[0] ^ 1]) + content[1:]
        elif fault == "short":
            content = content[: len(content) // 2]
        elif fault == "page":
            content = b"<html>Sign in to this network</html>"
        start = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.end_headers()
        if fault in ("cut", "reset", "hang"):
            return self._break(content[start : start + int(number)], fault)
        self.wfile.write(content[start:])
        return None

    def _break(self, content: bytes, fault: str) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(content)
            if fault == "hang":
                self.hub.released.wait(60)
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_WR) if fault == "cut" else self.connection.close()

    def _json(self, content: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _error(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
