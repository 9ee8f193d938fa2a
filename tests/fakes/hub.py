"""Repositories in, a stand-in for the Hugging Face hub out: a real HTTP server, HF_ENDPOINT, that answers as it does.

It knows what huggingface_hub asks: model info with the sizes of files, the tree, the resolution of a file with ETag and
X-Repo-Commit, large files behind a redirect, ranges; and refuses as the hub does, by status and X-Error-Code.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 4096
"""From this size on a file is in large file storage: another path, another ETag."""
PIECE = 2**14


@dataclass
class Repository:
    """Files of one commit. `gated`: only `token` gets them; `private`: without it there seems to be none. `rate`:
    bytes a second of a file, None as fast as it goes; `claims`: sizes that are told in place of the real ones."""

    files: Mapping[str, bytes]
    gated: bool = False
    private: bool = False
    token: str = "hf_goodtokengoodtokengoodtoken"
    rate: int | None = None
    branches: tuple[str, ...] = ("main",)
    claims: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(self.files[path] for path in sorted(self.files))).hexdigest()

    @cached_property
    def sums(self) -> dict[str, tuple[str, str]]:
        """What git and large file storage call each file."""
        return {path: (blob(content), sha256(content)) for path, content in self.files.items()}

    def etag(self, path: str) -> str:
        return self.sums[path][len(self.files[path]) >= LARGE]

    def entry(self, path: str) -> dict[str, object]:
        """A file as the tree tells it."""
        content = self.files[path]
        size = self.claims.get(path, len(content))
        row: dict[str, object] = {"type": "file", "path": path, "size": size, "oid": self.sums[path][0]}
        if len(content) >= LARGE:
            row["lfs"] = {"oid": self.etag(path), "sha256": self.etag(path), "size": size, "pointerSize": 134}
        return row


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is none."""


class Hub:
    """The server; `repositories` may be changed while it runs, `asked` is what it was asked, `delay` in seconds."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.asked: list[str] = []
        self.delay = 0.0
        self.status: int | None = None
        hub = self

        class Answer(_Answer):
            pass

        Answer.hub = hub
        self._server = _Server(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sent(self) -> list[str]:
        """The files whose content was asked for."""
        return [path.rpartition("/")[2] for path in self.asked if path.startswith("GET ") and "/blob-of/" in path]


class _Answer(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        parts = urlsplit(self.path)
        self.hub.asked.append(f"{self.command} {self.path}")
        time.sleep(self.hub.delay)
        with suppress(BrokenPipeError, ConnectionResetError):
            if self.hub.status:
                self.refuse(self.hub.status, "", "it is down")
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+|[^/]+)", parts.path):
                self.info(found[1], "main", "blobs" in parse_qs(parts.query))
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", parts.path):
                self.info(found[1], unquote(found[2]), "blobs" in parse_qs(parts.query))
            elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)/?", parts.path):
                self.tree(found[1], unquote(found[2]))
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/(resolve|blob-of)/([^/]+)/(.+)", parts.path):
                self.resolve(found[1], unquote(found[3]), unquote(found[4]), found[2] == "blob-of")
            else:
                self.refuse(404, "", "no such page")

    def repository(self, name: str, revision: str) -> Repository | None:
        """The repository, if this caller may see it at this revision; else refused."""
        found = self.hub.repositories.get(name)
        known = bool(found and self.headers.get("Authorization") == f"Bearer {found.token}")
        if found is None or (found.private and not known):
            self.refuse(401, "RepoNotFound", "Repository not found")
            return None
        if revision not in (*found.branches, found.commit):
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return found

    def info(self, name: str, revision: str, blobs: bool) -> None:
        if found := self.repository(name, revision):
            rows = [{"rfilename": path, **(self.sizes(found, path) if blobs else {})} for path in found.files]
            gated = "manual" if found.gated else False
            self.say({"id": name, "modelId": name, "sha": found.commit, "gated": gated, "siblings": rows})

    def sizes(self, found: Repository, path: str) -> dict[str, object]:
        entry = found.entry(path)
        row = {"blobId": entry["oid"], "size": entry["size"]}
        return {**row, "lfs": entry["lfs"]} if "lfs" in entry else row

    def tree(self, name: str, revision: str) -> None:
        if found := self.repository(name, revision):
            self.say([found.entry(path) for path in found.files])

    def resolve(self, name: str, revision: str, path: str, large: bool) -> None:
        found = self.repository(name, revision)
        if found is None:
            return
        if found.gated and self.headers.get("Authorization") != f"Bearer {found.token}":
            self.refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo", f"Access to {name} is gated")
        elif path not in found.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        elif len(found.files[path]) >= LARGE and not large:
            content = found.files[path]
            more = {"Location": f"/{name}/blob-of/{revision}/{path}", "X-Linked-Size": str(len(content))}
            self.head(302, {**more, "X-Repo-Commit": found.commit, "X-Linked-ETag": f'"{found.etag(path)}"'}, 0)
        else:
            self.content(found, path)

    def content(self, found: Repository, path: str) -> None:
        content = found.files[path]
        more = {"ETag": f'"{found.etag(path)}"', "X-Repo-Commit": found.commit, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        if asked:
            more["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        self.head(206 if asked else 200, more, len(content) - first)
        if self.command == "HEAD":
            return
        for start in range(first, len(content), PIECE):
            self.wfile.write(content[start : start + PIECE])
            if found.rate:
                time.sleep(PIECE / found.rate)

    def say(self, data: object) -> None:
        body = json.dumps(data).encode()
        self.head(200, {"Content-Type": "application/json"}, len(body))
        self.wfile.write(body)

    def refuse(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode() if self.command != "HEAD" else b""
        more = {"X-Error-Code": code} if code else {}
        self.head(status, {**more, "X-Error-Message": message, "Content-Type": "application/json"}, len(body))
        self.wfile.write(body)

    def head(self, status: int, more: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """It says nothing: `asked` has it all."""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def blob(content: bytes) -> str:
    """What git calls it."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
