"""One server for the authority and for the ports for metrics of all pods, whose addresses are loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab.layout import API_SERVER_IP

SUITE = "stable"
DATED = datetime(2026, 1, 1, tzinfo=timezone.utc)
RELEASE = f"""Origin: At size
Suite: {SUITE}
Codename: {SUITE}
Architectures: amd64
Components: main
Date: {DATED:%a, %d %b %Y %H:%M:%S} UTC
SHA256:
 {hashlib.sha256().hexdigest()} 0 main/binary-amd64/Packages
""".encode()
UNIT = {"unit": SUITE, "digest": hashlib.sha256(RELEASE).hexdigest(), "date": int(DATED.timestamp())}
AUTHORITY = f"http://{API_SERVER_IP}:8000/debian/"
UPSTREAM = {"type": "Debian", "authority": {"url": AUTHORITY}, "trust": {"signatures": "None"}}
CONTENT = {"debian": {"suites": [SUITE], "components": ["main"], "architectures": ["amd64"]}}


def answer(told: Callable[[str, str], dict | None]) -> None:
    """From now on, in threads; `told` gives the status document of a Mirror at the address of a pod."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kind, _, mirror = self.path.rpartition("/")
            if self.path == f"/debian/dists/{SUITE}/Release":
                return self._answer(200, RELEASE)
            document = told(self.connection.getsockname()[0], mirror) if kind == "/.mirrorfleet/status" else None
            return self._answer(404, b"") if document is None else self._answer(200, json.dumps(document).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for port in (9090, 8000):
        threading.Thread(target=Server(("0.0.0.0", port), Answering).serve_forever, daemon=True).start()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 256
