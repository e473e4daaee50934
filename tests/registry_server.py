"""A Schema Registry on 127.0.0.1 for tests: the two endpoints that are used, over real HTTP, with every request kept.

It answers as Confluent's does: the same schema text under any subject has one id; an unknown id is a 404 with a body.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIRST_ID = 1001


class RegistryServer:
    """What was asked, what is registered, and what to answer instead, if anything."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.requests: list[tuple[str, str]] = []
        self.schemas: dict[int, str] = {}
        self.subjects: dict[str, int] = {}
        self.instead: tuple[int, bytes] | None = None

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """The status and body for a request."""
        self.requests.append((method, path))
        if self.instead is not None:
            return self.instead
        if method == "POST" and path.startswith("/subjects/") and path.endswith("/versions"):
            text = json.loads(body)["schema"]
            known = {schema: number for number, schema in self.schemas.items()}
            number = known.get(text, FIRST_ID + len(self.schemas))
            self.schemas[number] = text
            self.subjects[path.split("/")[2]] = number
            return 200, json.dumps({"id": number}).encode()
        if method == "GET" and path.startswith("/schemas/ids/"):
            schema = self.schemas.get(int(path.rpartition("/")[2]))
            if schema is not None:
                return 200, json.dumps({"schema": schema}).encode()
        return 404, b'{"error_code":40403,"message":"not found"}'


@contextmanager
def registry_server() -> Iterator[RegistryServer]:
    """A server for the length of a `with`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = state.answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = RegistryServer(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
