"""Signatures of a registry: npm's own verifier judges what comes through us, below every path, by the key that comes through us too."""

from __future__ import annotations

import base64
import copy as copying
import hashlib
import json
import subprocess
from pathlib import Path

from npm_registry import Registry, integrity, tarball

from .behind import BELOW, PROXY, Front
from .npm import Copy, stocked
from .npm_clients import folder, node
from .place import Place
from .registry import story

VERIFIER = Path(__file__).with_name("npm_verifier.js")
KEYS = "/-/npm/v1/keys"


class SigningKey:
    """A key as registries sign by: ECDSA over P-256 and SHA-256, of `name@version:integrity`."""

    def __init__(self, place: Path) -> None:
        self.file = place
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", str(place))
        self.public = openssl("pkey", "-in", str(place), "-pubout", "-outform", "DER")
        self.id = "SHA256:" + base64.b64encode(hashlib.sha256(self.public).digest()).decode()

    def document(self) -> dict:
        key = base64.b64encode(self.public).decode()
        return {"keys": [{"expires": None, "keyid": self.id, "keytype": "ecdsa-sha2-nistp256", "scheme": "ecdsa-sha2-nistp256", "key": key}]}

    def sign(self, text: str, keyid: str | None = None) -> list[dict]:
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.file)], input=text.encode(), capture_output=True, check=True)
        return [{"keyid": keyid or self.id, "sig": base64.b64encode(signed.stdout).decode()}]

    def sign_all(self, upstream: Registry) -> None:
        for package in upstream.packages.values():
            for version, told in package.versions.items():
                told["dist"]["signatures"] = self.sign(f"{package.name}@{version}:{told['dist']['integrity']}")


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout


class Verifier:
    """pacote, as it is in the clients of npm."""

    def __init__(self, place: Place, client: str, keys: dict) -> None:
        self.program = [str(node()), str(VERIFIER), str(folder(client) / "node_modules" / "pacote")]
        self.work = place.workdir / f"verifier-{client}"
        self.work.mkdir()
        self.keys = self.work / "keys.json"
        self.keys.write_text(json.dumps(keys))

    def says(self, registry: str, *packages: str, **options: bool) -> list[dict]:
        """Of each: `id` where its signatures are good, or else `code` and `message`."""
        given = json.dumps(options or {"verifySignatures": True})
        command = [*self.program, registry, str(self.keys), str(self.work / "cache"), given, *packages]
        done = subprocess.run(command, env={"HOME": str(self.work), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@story("npm's own verifier accepts signatures through us below every path, by the keys that come through us, and refuses what was forged before it came")
def npm_verifies_signatures(place: Place) -> None:
    folder("npm11"), folder("npm12"), node()  # skips where they cannot be had
    upstream = stocked()
    key, thief = SigningKey(place.workdir / "registry.pem"), SigningKey(place.workdir / "thief.pem")
    key.sign_all(upstream)
    upstream.ready[KEYS] = (json.dumps(key.document()).encode(),) * 2
    try:
        copy = Copy(place, upstream, serving={"aliases": list(Copy.aliases), "trustedProxies": [f"{PROXY}/32"]})
        front = Front(place, copy.port)
        keys = copy.get(KEYS[1:]).json
        assert keys == key.document()
        packages = ["left@1.0.0", "left@next", "@scope/inner@3.0.0", "top@0.1.0"]
        ids = ["left@1.0.0", "left@2.0.0-rc.1", "@scope/inner@3.0.0", "top@0.1.0"]
        for client in ("npm11", "npm12"):
            verifier = Verifier(place, client, keys)
            for registry in (*map(copy.url, ("npm", *copy.aliases)), front.url("npm/")):
                assert verifier.says(registry, *packages) == [{"id": one, "signatures": 1} for one in ids], registry

        # Somebody on the way to us: other bytes with the old signature, a signature by another key, and one by a key that nobody knows.
        evil = tarball({"package.json": '{"name": "bytes", "version": "1.0.0"}'})
        for name in ("bytes", "signature", "unknown"):
            upstream.publish(name, "1.0.0")
        key.sign_all(upstream)
        upstream.tarballs["/bytes/-/bytes-1.0.0.tgz"] = evil
        dists = {name: upstream.packages[name].versions["1.0.0"]["dist"] for name in ("bytes", "signature", "unknown")}
        dists["bytes"].update(integrity=integrity(evil), shasum=hashlib.sha1(evil).hexdigest())
        dists["signature"]["signatures"] = thief.sign(f"signature@1.0.0:{dists['signature']['integrity']}", key.id)
        dists["unknown"]["signatures"] = thief.sign(f"unknown@1.0.0:{dists['unknown']['integrity']}")
        told = verifier.says(copy.url(), "bytes@1.0.0", "signature@1.0.0", "unknown@1.0.0", "left@1.0.0")
        assert [one.get("code") for one in told] == ["EINTEGRITYSIGNATURE", "EINTEGRITYSIGNATURE", "EMISSINGSIGNATUREKEY", None], told

        # What was seen before it was forged is not shown any more.
        was = copying.deepcopy(upstream.packages["left"].versions["1.1.0"]["dist"])
        upstream.packages["left"].versions["1.1.0"]["dist"].update(integrity=integrity(evil), shasum=hashlib.sha1(evil).hexdigest())
        copy.let_time_pass(400)
        (held,) = verifier.says(copy.url(), "left@1.1.0")
        assert held.get("code") == "ETARGET", held
        assert integrity(copy.get("left/-/left-1.1.0.tgz").body) == was["integrity"], "its first bytes are given out"
    finally:
        upstream.stop()


@story("attestations: npm's own verifier finds them at the path that it makes of a document, below every path, byte for byte")
def npm_asks_for_attestations(place: Place) -> None:
    folder("npm12"), node()
    upstream = stocked()
    key = SigningKey(place.workdir / "registry.pem")
    key.sign_all(upstream)
    # Of another package: npm compares that first, and goes to sigstore only for what fits.
    statement = {"subject": [{"name": "pkg:npm/somebody-elses@9.9.9", "digest": {"sha512": "00"}}]}
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    bundle = {"dsseEnvelope": {"payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "MEUC", "keyid": ""}]}}
    document = json.dumps({"attestations": [{"predicateType": "https://slsa.dev/provenance/v1", "bundle": bundle}]}, indent=1).encode()
    path = "/-/npm/v1/attestations/@scope/inner@3.0.0"
    upstream.ready[path] = (document, document)
    try:
        copy = Copy(place, upstream, serving={"aliases": list(Copy.aliases), "trustedProxies": [f"{PROXY}/32"]})
        front = Front(place, copy.port)
        verifier = Verifier(place, "npm12", key.document())
        for registry in (*map(copy.url, ("npm", *copy.aliases)), front.url("npm/")):
            (told,) = verifier.says(registry, "@scope/inner@3.0.0", verifySignatures=True, verifyAttestations=True)
            assert told.get("code") == "EATTESTATIONSUBJECT" and "somebody-elses@9.9.9" in told["message"], (registry, told)
        for below in ("npm", *copy.aliases):
            assert copy.get(path[1:], below=below).body == document
        assert f"GET /{BELOW}/npm/-/npm/v1/attestations/" in (front.prefix / "access.log").read_text(), "npm asked through the proxy"
        assert upstream.count("attestations") == 1, upstream.asked_paths()
    finally:
        upstream.stop()
