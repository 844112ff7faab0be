"""A proxy that lets something happen in the middle of a client's transaction: of the client's, or before a server."""

from __future__ import annotations

import http.client
import threading
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .certificate import Certificate
from .place import Server

HOP_BY_HOP = {"connection", "proxy-connection", "keep-alive", "transfer-encoding", "te", "upgrade"}


class Interposer:
    """Forwards requests; after each answer for a path that ends in `after`, and before any other, calls `then`.

    A client's proxy; or, with `before`, what everybody takes for that server, over https with a certificate."""

    def __init__(
        self, after: str, then: Callable[[], object], *, before: Server | None = None, certificate: Certificate | None = None,
    ) -> None:  # fmt: skip
        told = {"after": after, "then": staticmethod(then), "turn": threading.Lock(), "before": before}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), told))
        self.server.daemon_threads = True
        if certificate:
            self.server.socket = certificate.for_servers().wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Interposer:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    after: str
    then: Callable[[], object]
    turn: threading.Lock
    before: Server | None

    def do_GET(self) -> None:  # noqa: N802 the name that the library calls
        url = urllib.parse.urlsplit(self.path)
        with self.turn:
            status, headers, body = self._forward(url)
            if status == 200 and url.path.endswith(self.after):
                type(self).then()
        self.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _forward(self, url: urllib.parse.SplitResult) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = self.before.connection() if self.before else http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        try:
            connection.request("GET", url.path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def log_message(self, *_arguments: Any) -> None:
        """The client's own log tells more."""
