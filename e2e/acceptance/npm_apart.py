"""npm's registry in two processes, as in a pod: `serve` answers clients, `fill` has the folder and asks the upstream."""

from __future__ import annotations

import concurrent.futures
import random
import signal
import subprocess
import time
from pathlib import Path

from lab.waiting import wait_until
from npm_registry import ABBREVIATED, Registry

from .npm import DAY, FULL, Copy, instant, stocked
from .npm_clients import CLIENTS, project, required
from .place import Place, end
from .registry import story

#: Bytes of a large file, which comes over the socket while it is fetched or as an open file.
LARGE = 6_000_000


class Apart(Copy):
    """The same registry as two processes. `serve` has neither the manifests nor the folder's content to write."""

    def start(self) -> None:
        self.socket = self.place.workdir / "fill.sock"
        self.fillers = 0
        self.fill()
        super().start()

    def fill(self) -> None:
        self.fillers += 1
        argv = [self.place.binary, "fill", "-f", self.manifest(), "--mirror", "npm", "--data", self.place.data, "--socket", self.socket, "--metrics-listen", "127.0.0.1:0"]
        self.filler = self.place.start(f"fill-{self.fillers}", argv)

    def command(self) -> list[str | Path]:
        return [self.place.binary, "serve", "--data", self.place.data, "--registry", self.socket, "--metrics-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]

    def kill_filler(self) -> None:
        self.filler.send_signal(signal.SIGKILL)
        self.filler.wait()

    def is_ready(self) -> bool:
        done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{self.metrics_port}/readyz"], capture_output=True, text=True)
        return done.stdout == "200"


@story("an npm registry in two processes: npm installs; who fetches is killed again and again, and what is warm goes on; a young version says when it opens")
def a_registry_in_two_processes(place: Place) -> None:
    upstream = stocked()
    now = time.time()
    upstream.publish("left", "1.9.0", at=instant(now - DAY))
    large = upstream.publish("large", "1.0.0", content={"data": random.Random(1).randbytes(LARGE).hex()})
    try:
        copy = Apart(place, upstream, guard={"minimumReleaseAge": "72h"})
        wait_until(copy.is_ready, 90, "the registry to be introduced", interval=0.05)
        client = CLIENTS["npm12"]
        client.program()
        folder = project(place.workdir, "apart", {"top": "^0.1.0", "left": "^1.0.0", "large": "1.0.0"})
        client.run(folder, *client.install, registry=copy.url())
        assert required(folder, "left") == "left@1.2.0" and required(folder, "top") == "top@0.1.0"
        documents = {accept: copy.get("@scope%2finner", Accept=accept) for accept in (FULL, ABBREVIATED)}
        for accept, answer in documents.items():
            told = upstream.packages["@scope/inner"].document(full=accept == FULL)
            assert answer.status == 200 and answer.json["versions"].keys() == told["versions"].keys()
            assert answer.headers["vary"] == "accept, accept-encoding" and answer.headers["content-type"] == accept
        held = copy.get("left/-/left-1.9.0.tgz")
        assert held.status == 403 and "younger" in held.error and f"opens at {instant(int(now) + 2 * DAY)[:15]}" in held.error, held
        part = copy.get("large/-/large-1.0.0.tgz", Range="bytes=5-9")
        assert (part.status, part.body) == (206, large[5:10])
        assert copy.get("-/npm/v1/security/advisories/bulk", "POST", b'{"left":["1.2.0"]}').status == 200
        assert copy.metric("mirrorfleet_registry_answers_total", source="ready") >= 1

        # Nobody fetches: what was given lately is given again, at once; everything else waits until somebody does.
        copy.kill_filler()
        begun = time.monotonic()
        for accept, answer in documents.items():
            again = copy.get("@scope%2finner", Accept=accept)
            assert (again.status, again.body) == (200, answer.body)
            assert copy.get("@scope%2finner", Accept=accept, If_None_Match=answer.headers["etag"]).status == 304
        assert copy.get("large/-/large-1.0.0.tgz").body == large
        # Who asks somebody that is not there waits for twenty seconds.
        assert time.monotonic() - begun < 15, "nobody was asked"
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(copy.get, f"left/-/left-1.{minor}.0.tgz") for minor in (0, 1, 2)]
            time.sleep(0.3)
            copy.fill()
            assert {answer.result().status for answer in waiting} == {200}
        trail = (place.data / "npm" / "trail.jsonl").read_text()
        assert '"1.9.0"' in trail, "what was held back is known to the next process too"

        # Killed in the middle of what is asked, three times: what is answered is right.
        for turn in range(3):
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                asking = [pool.submit(copy.get, path) for path in ("left", "top", "large/-/large-1.0.0.tgz", "left/-/left-1.1.0.tgz")]
                time.sleep(0.02 * turn)
                copy.kill_filler()
                copy.fill()
                assert {answer.result().status for answer in asking} == {200}

        # Another process that serves knows of nothing, and the upstream is gone.
        end(copy.process)
        upstream.stop()
        Copy.start(copy)
        wait_until(copy.is_ready, 90, "the registry to be introduced again", interval=0.05)
        client.forget(folder)
        client.run(folder, *client.repeat, registry=copy.url())
        assert required(folder, "left") == "left@1.2.0"
        assert copy.get("left/-/left-1.9.0.tgz").status == 403
    finally:
        upstream.stop()
