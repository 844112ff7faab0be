"""nginx: the upstream that is copied from, and the server that is compared with."""

from __future__ import annotations

from pathlib import Path

from processes import AS_ROOT

CONFIG = """
{user}
daemon off;
pid {work}/{name}.pid;
error_log {work}/{name}-error.log;
worker_processes {workers};
events {{ worker_connections 4096; }}
http {{
    default_type application/octet-stream;
    client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
    uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
    sendfile on;
    keepalive_requests 100000000;
    access_log off;
    {rules}
}}
"""


def nginx_command(work: Path, name: str, workers: int, rules: str) -> list[str]:
    """What starts an nginx of this name that obeys these rules besides what all share."""
    config = work / f"{name}.conf"
    user = "user root;" if AS_ROOT else ""
    config.write_text(CONFIG.format(user=user, work=work, name=name, workers=workers, rules=rules))
    return ["nginx", "-e", str(work / f"{name}.log"), "-p", str(work), "-c", str(config)]
