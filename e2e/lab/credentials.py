"""Certificates (by openssl), tokens and kubeconfigs of one lab. All of it is thrown away with the lab."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .layout import API_SERVER_IP, API_SERVER_PORT, KUBERNETES_SERVICE_IP, NODES

# User -> groups. Control plane and nodes show tokens rather than certificates: one line each instead of three files.
_USERS: dict[str, str] = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "system:kube-proxy": "system:node-proxier",
    **{f"system:node:{node.name}": "system:nodes" for node in NODES},
}


@dataclass(frozen=True)
class Credentials:
    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of a user, for processes inside the lab."""
        return self.directory / f"{user.replace(':', '_')}.kubeconfig"

    def create(self) -> None:
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o700)
        self._certificate("ca", "/CN=mirrorfleet-e2e")
        self._certificate(
            "kube-apiserver",
            "/CN=kube-apiserver",
            f"subjectAltName=IP:{API_SERVER_IP},IP:{KUBERNETES_SERVICE_IP},IP:127.0.0.1,DNS:localhost,"
            "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local",
        )
        self._certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        _openssl("genrsa", "-out", self.path("service-account.key"), "2048")
        lines = []
        for number, (user, groups) in enumerate(_USERS.items()):
            token = secrets.token_hex(16)
            lines.append(f'{token},"{user}",{number},"{groups}"')
            self.write_kubeconfig(self.kubeconfig(user), f"https://{API_SERVER_IP}:{API_SERVER_PORT}", token)
            if user == "admin":
                self._private(self.path("admin.token"), token)
        self._private(self.path("tokens.csv"), "\n".join(lines) + "\n")

    def write_kubeconfig(self, path: Path, server: str, token: str) -> None:
        authority = base64.b64encode(self.path("ca.crt").read_bytes()).decode()
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority-data": authority}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "user"}}],
            "current-context": "lab",
        }
        self._private(path, json.dumps(content, indent=1))  # YAML includes JSON

    def _certificate(self, name: str, subject: str, extension: str = "") -> None:
        arguments = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        arguments += ["-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.crt"), "-days", "3650"]
        arguments += ["-subj", subject]
        if name != "ca":
            arguments += ["-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key")]
            arguments += ["-addext", "basicConstraints=critical,CA:FALSE"]
        if extension:
            arguments += ["-addext", extension]
        _openssl(*arguments)

    @staticmethod
    def _private(path: Path, content: str) -> None:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(content)


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *(str(part) for part in arguments)], check=True, capture_output=True)
