"""A caching proxy between half of the clients and us."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from acceptance.place import Place, free_port, wait_for_port

CONFIGURATION = """
http_port 127.0.0.1:{port}
http_access allow localhost
http_access deny all
pid_filename none
cache_mem 128 MB
maximum_object_size_in_memory 8 MB
cache_log {folder}/cache.log
access_log stdio:{folder}/access.log
coredump_dir {folder}
cache_dir ufs {folder}/cache 64 16 16
shutdown_lifetime 1 second
"""


class Squid:
    """Outside the place: squid gives up its rights, and must still be able to write here."""

    def __init__(self, place: Place) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mirrorfleet-squid-"))
        self.folder.chmod(0o777)
        self.port = free_port()
        configuration = self.folder / "squid.conf"
        configuration.write_text(CONFIGURATION.format(port=self.port, folder=self.folder))
        place.start("squid-z", ["squid", "-N", "-z", "-f", configuration]).wait()
        self._process = place.start("squid", ["squid", "-N", "-f", configuration])
        wait_for_port(self.port)
        self.url = f"http://127.0.0.1:{self.port}/"

    def hits(self) -> int:
        """Answers from the cache, revalidated ones among them: without any, it would not be a caching proxy."""
        log = self.folder / "access.log"
        return sum(1 for line in log.read_text().splitlines() if "HIT" in line or "REFRESH_UNMODIFIED" in line) if log.exists() else 0

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
