"""A real nginx in the lab, where a Gateway, an ingress controller or somebody's own proxy would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def nginx(fleet, name: str, http: str) -> Iterator[Path]:
    """With these directives of its `http` block, until the end; gives the file of its access log."""
    prefix = fleet.world.workdir / name
    (prefix / "tmp").mkdir(parents=True, exist_ok=True)
    config = prefix / "nginx.conf"
    config.write_text(
        f"""
        daemon off; worker_processes 1; pid {prefix}/nginx.pid; error_log {prefix}/error.log; user root;
        events {{ worker_connections 64; }}
        http {{
            access_log {prefix}/access.log; client_body_temp_path {prefix}/tmp/body; proxy_temp_path {prefix}/tmp/proxy;
            fastcgi_temp_path {prefix}/tmp/fastcgi; uwsgi_temp_path {prefix}/tmp/uwsgi; scgi_temp_path {prefix}/tmp/scgi;
            {http}
        }}
        """
    )
    fleet.lab.run_server(name, ["nginx", "-p", prefix, "-c", config], ready_url="")
    try:
        yield prefix / "access.log"
    finally:
        fleet.lab.stop_server(name)
