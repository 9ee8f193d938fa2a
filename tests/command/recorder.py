"""An engine's socket that makes nothing: it keeps the create requests that clients send it, and refuses the rest."""

from __future__ import annotations

import json
import socketserver
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

VERSION = "1.41"


class Recorder:
    """`requests` are the bodies of the create requests, in their order."""

    def __init__(self, path: Path) -> None:
        self.url = f"unix://{path}"
        self.requests: list[dict[str, Any]] = []
        requests = self.requests

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.say(200, {"ApiVersion": VERSION, "Version": "20.10", "Components": []})

            do_HEAD = do_GET  # noqa: N815 - the name is http.server's

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if "/containers/create" in self.path:
                    name = self.path.partition("name=")[2].partition("&")[0]
                    requests.append({"Name": name, **json.loads(body)})
                    self.say(201, {"Id": "0" * 64, "Warnings": []})
                else:
                    self.say(500, {"message": "only made, never started"})

            def say(self, status: int, data: dict[str, Any]) -> None:
                text = json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Api-Version", VERSION)
                self.send_header("Ostype", "linux")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def address_string(self) -> str:
                return "client"

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that does not wait for its refusal."""

        self._server = Server(str(path), Answer)
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
