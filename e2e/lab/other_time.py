"""Hands on what a serving pod says of itself, with another time in it.

All nodes of the lab have this machine's clock, which nothing here may set; so this is as near as it comes to a node whose clock is
wrong: `python3 other_time.py PORT POD SECONDS` listens on the pod's node, asks the pod's port for metrics, and moves `now` of its answer.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: The pod's, of metrics and of what it says of itself.
ASKED = 9090


def serve(port: int, pod: str, seconds: int) -> None:
    class Between(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 the name that the library asks for
            try:
                with urllib.request.urlopen(f"http://{pod}:{ASKED}{self.path}", timeout=20) as answer:
                    code, kind, body = answer.status, answer.headers["Content-Type"], answer.read()
            except urllib.error.HTTPError as error:
                code, kind, body = error.code, error.headers["Content-Type"], error.read()
            self.send_response(code)
            body = moved(body) if "/.mirrorfleet/status/" in self.path and code == 200 else body
            self.send_header("Content-Type", kind or "text/plain")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def moved(body: bytes) -> bytes:
        said = json.loads(body)
        return json.dumps({**said, "now": said["now"] + seconds}).encode()

    ThreadingHTTPServer(("", port), Between).serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
