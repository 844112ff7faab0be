"""nginx, which keeps all that it writes in one folder."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx(prefix: Path, rules: str) -> list[str | Path]:
    """The command that runs one with `rules` in its block `http`. What it was asked is in `access.log` of its folder."""
    (prefix / "tmp").mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = " ".join(f"{kind}_temp_path {prefix}/tmp/{kind};" for kind in TEMPORARY)
    config = prefix / "nginx.conf"
    config.write_text(
        f"""
        daemon off; worker_processes 1; pid {prefix}/nginx.pid; error_log {prefix}/error.log; {user}
        events {{ worker_connections 512; }}
        http {{
            access_log {prefix}/access.log; {temporary}
            {rules}
        }}
        """
    )
    return ["nginx", "-p", prefix, "-c", config]
