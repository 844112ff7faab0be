"""Packages are judged as pacman judges them, with a real pacman beside us on the same keyring."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import itertools
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from archive import run

from .arch import ArchMirror, an_upstream, arch_mirror, begun, checked, servers
from .arch_upstream import ArchUpstream
from .keys import KeyRing, address
from .manners import ask
from .pacman import COMPLAINT, Pacman
from .place import Place, Server
from .registry import story

MASTERS = ("master-a", "master-b", "master-c", "master-d", "master-e")
#: When the keys of these stories are made, and a time at which short-lived ones were still good.
MADE = "20230101T000000"
THEN = "20230102T000000"


class Web:
    """Five masters, of whom three are needed, and whom they vouch for."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.packagers: list[str] = []
        self.disabled: list[str] = []
        for master in MASTERS:
            # One that can sign with a hash that is too weak.
            ring.make(master, at=MADE, algorithm="rsa2048" if master == MASTERS[2] else "ed25519")

    def packager(self, name: str, masters: int, *, expires: str = "never", at: str = THEN) -> str:
        self.ring.make(name, expires=expires, at=MADE)
        for master in MASTERS[:masters]:
            self.ring.certify(name, master, at=at)
        self.packagers.append(name)
        return name

    def files(self, *owners: str) -> dict[str, str]:
        """A keyring as a package of keys installs it."""
        trusted = "".join(f"{self.ring.fingerprints(master)[0]}:4:\n" for master in MASTERS)
        disabled = "".join(f"{self.ring.fingerprints(owner)[0]}\n" for owner in self.disabled)
        return {"test.gpg": self.ring.public(*(owners or (*MASTERS, *self.packagers))), "test-trusted": trusted, "test-revoked": disabled}

    def trust(self, **more) -> dict:
        return {"keyringRef": {"kind": "ConfigMap", "name": "keys", "key": "test.gpg"}, **more}


def of_a_packager(place: Place, **more) -> tuple[Web, ArchUpstream]:
    """An upstream whose one packager three masters vouch for."""
    web = Web(place.ring)
    web.packager("packager", 3)
    return web, an_upstream(place, ring=place.ring, owner="packager", **more)


@contextlib.contextmanager
def populated(files: dict[str, str], where: Path) -> Iterator[Path]:
    """What pacman-key makes of a keyring. The folder's name must be short: an agent has its socket there."""
    gpgdir = Path(tempfile.mkdtemp(prefix="mirrorfleet-pacman-"))
    where.mkdir(parents=True)
    for name, text in files.items():
        if text:
            (where / name).write_text(text)
    (where / "pacman.conf").write_text("[options]\n")
    # Where keyrings are is written into it.
    program = Path(shutil.which("pacman-key") or "pacman-key").read_text()
    script = where / "pacman-key"
    script.write_text(program.replace("KEYRING_IMPORT_DIR='/usr/share/keyrings'", f"KEYRING_IMPORT_DIR='{where}'"))
    key = ["bash", script, "--config", where / "pacman.conf", "--gpgdir", gpgdir]
    try:
        run([*key, "--init"])
        run([*key, "--populate", "test"])
        yield gpgdir
    finally:
        subprocess.run(["gpgconf", "--homedir", str(gpgdir), "--kill", "gpg-agent"], check=False, capture_output=True)
        shutil.rmtree(gpgdir, ignore_errors=True)


@dataclass
class Case:
    #: By whom its package is signed; several make one file with several signatures.
    keys: tuple[str, ...]
    #: What we say, and what of pacman's words.
    reason: str = ""
    says: str = ""
    at: str = ""


def cases(web: Web) -> dict[str, Case]:
    ring = web.ring
    found = {
        "three-masters": Case((address(web.packager("three", 3)),)),
        "five-masters": Case((address(web.packager("five", 5)),)),
        "two-masters": Case((address(web.packager("two", 2)),), "TrustMarginal", "marginal trust"),
        "nobody": Case((address(web.packager("none", 0)),), "KeyUnknown", "unknown trust"),
        "a-master": Case((address(MASTERS[0]),)),
        "disabled": Case((address(web.packager("disabled", 4)),), "KeyRevoked", "disabled"),
        "expired-since": Case((address(web.packager("expired", 3, expires="10d")),), "KeyExpired", "unknown trust", at=THEN),
    }
    web.disabled.append("disabled")

    web.packager("subkey", 3)
    ring._gpg("--quick-add-key", ring.fingerprints("subkey")[0], "ed25519", "sign", at=THEN)  # noqa: SLF001
    found["subkey"] = Case((ring.fingerprints("subkey")[1] + "!",))

    web.packager("renamed", 3)
    fingerprint = ring.fingerprints("renamed")[0]
    ring._gpg("--quick-add-uid", fingerprint, "renamed <other@example.org>", at=THEN)  # noqa: SLF001
    ring._gpg("--quick-revoke-uid", fingerprint, address("renamed"))  # noqa: SLF001
    found["uid-revoked"] = Case((fingerprint,), "KeyUnknown", "unknown trust")

    web.packager("taken-back", 3)
    ring._gpg("--quick-revoke-sig", ring.fingerprints("taken-back")[0], ring.fingerprints(MASTERS[1])[0])  # noqa: SLF001
    found["certification-revoked"] = Case((address("taken-back"),), "TrustMarginal", "marginal trust")

    web.packager("sha1", 2)
    ring.certify("sha1", MASTERS[2], "--allow-weak-key-signatures", "--cert-digest-algo", "SHA1")
    found["sha1-certification"] = Case((address("sha1"),), "TrustMarginal", "marginal trust")

    stranger = ring.make("stranger")
    found["stranger"] = Case((address(stranger),), "KeyUnknown", "required key missing from keyring")
    found["two-signers"] = Case((address("three"), address("five")))
    found["one-of-two-is-marginal"] = Case((address("three"), address("two")), "TrustMarginal", "marginal trust")
    return found


@story("packages are judged as by pacman: enough masters, too few, none, disabled, expired, subkeys, what was taken back, weak certifications")
def trust_is_that_of_pacman(place: Place) -> None:
    web = Web(place.ring)
    table = cases(web)
    upstream = an_upstream(place)
    for name, case in table.items():
        sign(place.ring, upstream, name, case)
    for name, wrong in BROKEN.items():
        case = Case((address("three"),), wrong.reason, wrong.says)
        sign(place.ring, upstream, name, case)
        wrong.spoil(upstream.packages[name, "tool"].signature, place.ring)
        table[name] = case
    files = web.files()
    with populated(files, place.workdir / "keyring") as gpgdir:
        url = place.url("arch")
        pacman = Pacman(place.workdir / "pacman", {name: f"{url}$repo/os/$arch" for name in table}, gpgdir=gpgdir)
        pacman.clean("-Sy")
        wrong = []
        for name, case in table.items():
            theirs = pacman.run("-Sw", f"{name}/tool")
            mirror = ArchMirror(name, url, (name,), trust=web.trust(), keys=files)
            ours = place.sync(mirror, expect=3 if case.reason else 0)
            if (theirs.returncode == 0) != (not case.reason) or case.says not in theirs.stdout + theirs.stderr:
                wrong.append(f"{name}: pacman says {theirs.stdout + theirs.stderr}")
            if case.reason and (ours.reason != case.reason or "tool-1-1-any.pkg.tar.zst" not in ours.text):
                wrong.append(f"{name}: we say {ours.reason}: {ours.text}")
            shutil.rmtree(pacman.cache)
            pacman.cache.mkdir()
        assert not wrong, "\n".join(wrong)
    assert "two <two@example.org>" in place.sync(ArchMirror("two-masters", url, ("two-masters",), trust=web.trust(), keys=files), expect=3).text
    # One master more is needed by choice, or one less.
    strict = web.trust(webOfTrust={"marginalsNeeded": 4})
    assert place.sync(ArchMirror("strict", url, ("three-masters",), trust=strict, keys=files), expect=3).reason == "TrustMarginal"
    easy = web.trust(webOfTrust={"marginalsNeeded": 2})
    place.sync(ArchMirror("easy", url, ("two-masters",), trust=easy, keys=files))


@dataclass(frozen=True)
class Wrong:
    """What is done to a signature."""

    spoil: Callable[[Path, KeyRing], None]
    reason: str
    says: str


def other_content(signature: Path, ring: KeyRing) -> None:
    other = signature.with_name("other")
    other.write_text("something else")
    ring.sign_file(address("three"), other, signature)


BROKEN = {
    "over-something-else": Wrong(other_content, "SignatureBad", "invalid"),
    "not-there": Wrong(lambda signature, _: signature.unlink(), "SignatureMissing", "failed retrieving file"),
    "empty": Wrong(lambda signature, _: signature.write_bytes(b""), "SignatureMissing", ""),
    "a-page": Wrong(lambda signature, _: signature.write_text("<html></html>"), "SignatureBad", ""),
}


def sign(ring: KeyRing, upstream: ArchUpstream, repo: str, case: Case) -> None:
    """A repository with one package."""
    package = upstream.add(repo, "tool")
    whole = b""
    for key in case.keys:
        ring.sign_file(key, package.file, package.signature, at=case.at)
        whole += package.signature.read_bytes()
    package.signature.write_bytes(whole)


@story("masters are pinned and packagers' keys come with the upstream's own package: who joins makes nothing stale, who is revoked holds")
def keys_come_with_a_package(place: Place) -> None:
    web = Web(place.ring)
    old, upstream = web.packager("old-hand", 3), an_upstream(place)

    def publish_keys(version: str) -> None:
        folder = "usr/share/pacman/keyrings"
        files = {f"{folder}/{name}": text for name, text in web.files().items()}
        add("core", "test-keyring", version, old, files=files)

    def add(repo: str, name: str, version: str, by: str, **more) -> None:
        package = upstream.add(repo, name, version, **more)
        place.ring.sign_file(address(by), package.file, package.signature)

    publish_keys("1-1")
    add("extra", "tool", "1-1", old)
    # The masters' own keys are all that is pinned.
    pinned = {name: text for name, text in web.files(*MASTERS).items() if text}
    trust = web.trust(webOfTrust={"keyringPackage": "test-keyring"})
    mirror = arch_mirror(place, "arch", "core", "extra", trust=trust, keys=pinned)
    place.sync(mirror)
    server = place.serve()
    checked(place, server, mirror)

    # Somebody joins: first the keys, then what he packages; both are new in one run.
    new = web.packager("new-hand", 3)
    add("extra", "tool", "2-1", new)
    refused = place.sync(mirror, expect=3)
    assert refused.reason == "KeyUnknown" and "tool-2-1" in refused.text, refused.text
    publish_keys("2-1")
    place.sync(mirror)
    checked(place, server, mirror)
    assert ask(server, "arch/extra/os/x86_64/tool-2-1-any.pkg.tar.zst").status == 200

    # A key that no master vouches for does not count because it lies in the package.
    web.packager("intruder", 2)
    publish_keys("3-1")
    place.sync(mirror)
    add("extra", "evil", "1-1", "intruder")
    refused = place.sync(mirror, expect=3)
    assert refused.reason == "TrustMarginal" and "evil-1-1" in refused.text, refused.text
    assert ask(server, "arch/extra/os/x86_64/evil-1-1-any.pkg.tar.zst").status == 404
    upstream.remove("extra", "evil")
    place.sync(mirror)

    # Who is revoked vouches for nothing any more, also for what was copied before; the other repository goes on.
    web.disabled.append(new)
    publish_keys("4-1")
    refused = place.sync(mirror, expect=3)
    assert refused.reason == "KeyRevoked" and "tool-2-1" in refused.text, refused.text
    assert ask(server, "arch/core/os/x86_64/test-keyring-4-1-any.pkg.tar.zst").status == 200
    # Signed anew by somebody else, without a new version.
    package = upstream.packages["extra", "tool"]
    place.ring.sign_file(address(old), package.file, package.signature)
    upstream.add("extra", "more")
    place.ring.sign_file(address(old), upstream.packages["extra", "more"].file, upstream.packages["extra", "more"].signature)
    place.sync(mirror)
    checked(place, server, mirror)
    assert ask(server, "arch/extra/os/x86_64/tool-2-1-any.pkg.tar.zst.sig").body == package.signature.read_bytes()


@story("signatures in the database are judged too; where they are optional, what is there must be good; a keyring may be several objects")
def trust_in_every_form(place: Place) -> None:
    web = Web(place.ring)
    web.packager("packager", 3)
    files = web.files()
    inline = an_upstream(place, "inline", ring=place.ring, owner="packager", inline=True)
    inline.add("core", "good")
    mirror = arch_mirror(place, "inline", "core", trust=web.trust(), keys=files)
    place.sync(mirror)
    server = place.serve()
    checked(place, server, mirror)
    inline.owner = "archive"
    inline.add("core", "bad")
    refused = place.sync(mirror, expect=3)
    assert refused.reason == "KeyUnknown" and "bad-1-1" in refused.text, refused.text

    mixed = an_upstream(place, "mixed")
    for name in ("signed", "unsigned"):
        mixed.add("core", name)
    package = mixed.packages["core", "signed"]
    place.ring.sign_file(address("packager"), package.file, package.signature)
    trust = web.trust(signatures="Optional")
    mirror = arch_mirror(place, "mixed", "core", trust=trust, keys=files)
    place.sync(mirror)
    place.wait_until_served(server, mirror)
    for name, status in (("signed", 200), ("unsigned", 404)):
        assert ask(server, f"mixed/core/os/x86_64/{name}-1-1-any.pkg.tar.zst").status == 200
        assert ask(server, f"mixed/core/os/x86_64/{name}-1-1-any.pkg.tar.zst.sig").status == status, name
    # What has none is not asked for again while it is the same package.
    seen = len(place.requests())
    mixed.add("core", "third")
    place.sync(mirror)
    asked = [path.rpartition("/")[2] for path in place.requests()[seen:] if path.endswith(".pkg.tar.zst.sig")]
    assert asked == ["third-1-1-any.pkg.tar.zst.sig"], asked
    mixed.add("core", "fourth")
    place.ring.sign_file(address("archive"), mixed.packages["core", "fourth"].file, mixed.packages["core", "fourth"].signature)
    assert place.sync(mirror, expect=3).reason == "KeyUnknown"

    # Two objects; without a list of masters every key of them counts.
    keys = {"one.gpg": place.ring.public("archive"), "two.gpg": place.ring.public("packager")}
    both = {"keyringRef": {"kind": "ConfigMap", "name": "keys", "key": "one.gpg"}, "signatures": "Optional"}
    both["additionalKeyringRefs"] = [{"kind": "ConfigMap", "name": "keys", "key": "two.gpg"}]
    place.sync(ArchMirror("mixed", mirror.upstream, ("core",), trust=both, keys=keys))


@story("who is revoked is noticed at the next check although nothing is new, by signers alone: no package is read, no database asked for")
def a_changed_keyring_reads_no_package(place: Place) -> None:
    web = Web(place.ring)
    for packager in ("packager", "colleague"):
        web.packager(packager, 3)
    upstream = an_upstream(place)
    package = upstream.add("core", "large", content="x" * 100_000)
    place.ring.sign_file(address("packager"), package.file, package.signature)
    other = upstream.add("extra", "other")
    place.ring.sign_file(address("colleague"), other.file, other.signature)
    url = place.url("arch")

    def mirror() -> ArchMirror:
        return ArchMirror("arch", url, ("core", "extra"), trust=web.trust(), keys=web.files())

    place.sync(mirror())
    blob = next(file for file in (place.data / "arch" / "blobs").rglob("*") if file.is_file() and file.read_bytes() == package.file.read_bytes())
    # Whoever read it would find it to be another one.
    blob.chmod(0o644)
    blob.write_bytes(bytes(len(blob.read_bytes())))

    def asked(reason: str = "") -> list[str]:
        """What a run asks for that ends so, but for the clocks, and for signatures of databases, which may be new."""
        seen = len(place.requests())
        done = place.sync(mirror(), expect=3 if reason else 0)
        assert not reason or done.reason == reason and "large-1-1" in done.text, done.text
        names = [path.rpartition("/")[2] for path in place.requests()[seen:]]
        return sorted(name for name in names if not name.startswith("last") and not name.endswith((".db.sig", ".files.sig")))

    web.packager("another", 3)
    assert asked() == []
    # Who is disabled now, or has revoked the key, is asked for a better signature, of which there is none; again and again.
    better = ["large-1-1-any.pkg.tar.zst.sig"]
    web.disabled.append("packager")
    assert asked("KeyRevoked") == better
    assert asked("KeyRevoked") == better
    web.disabled.clear()
    assert asked() == []
    place.ring.revoke("packager")
    assert asked("KeyRevoked") == better
    # Somebody else signs it, and it is the same package: now it is read.
    place.ring.sign_file(address("colleague"), package.file, package.signature)
    blob.write_bytes(package.file.read_bytes())
    assert asked() == better
    server = place.serve()
    checked(place, server, mirror())
    assert ask(server, "arch/core/os/x86_64/large-1-1-any.pkg.tar.zst.sig").body == package.signature.read_bytes()


@story("a database and its signature are of one state for a pacman, also where the next state is published between its two requests; without the redirect they are not")
def a_database_and_its_signature_are_of_one_state(place: Place) -> None:
    web = Web(place.ring)
    web.packager("packager", 3)
    files = web.files()
    upstream = an_upstream(place, ring=place.ring, owner="packager", signs_databases=True)
    upstream.add("core", "tool", "1-1")
    url, trust = place.url("arch"), web.trust(databases="Required")
    mirrors = {
        mode: ArchMirror(mode.lower(), url, ("core",), trust=trust, keys=files, spec={"serving": {"transactions": mode}})
        for mode in ("WithoutByHash", "Never")
    }
    for mirror in mirrors.values():
        place.sync(mirror)
    server = place.serve()
    for mirror in mirrors.values():
        place.wait_until_served(server, mirror)
    plain = ask(server, "withoutbyhash/core/os/x86_64/core.db.tar.gz.sig")
    assert plain.status == 200 and plain.body == ask(server, "withoutbyhash/core/os/x86_64/core.db.sig").body
    with populated(files, place.workdir / "keyring") as gpgdir:
        for mode, mirror in mirrors.items():
            with between(server, lambda mirror=mirror: publish(place, upstream, mirror, server)) as through:
                pacman = Pacman(place.workdir / f"pacman-{mode}", {"core": f"{through}{mirror.path}/$repo/os/$arch"}, gpgdir=gpgdir, level="Required")
                for _ in range(4):
                    done = pacman.run("-Sy")
                    fits = done.returncode == 0 and not COMPLAINT.search(done.stdout + done.stderr)
                    assert fits == (mode != "Never"), f"{mode}: {done.stdout}{done.stderr}"
        # And as it comes, twice a second, for several at once.
        mirror = mirrors["WithoutByHash"]
        pacmans = [Pacman(place.workdir / f"pacman-{number}", servers(server, mirror), gpgdir=gpgdir, level="Required") for number in range(3)]
        wrong = race(place, upstream, mirror, pacmans)
        assert not wrong, wrong[:3]

    # A signature of another state is no signature of this one.
    kept = upstream.database("core").with_suffix(".gz.sig").read_bytes()
    upstream.add("core", "more")
    upstream.database("core").with_suffix(".gz.sig").write_bytes(kept)
    assert place.sync(mirrors["Never"], expect=3).reason == "SignatureBad"
    upstream.database("core").with_suffix(".gz.sig").unlink()
    assert place.sync(mirrors["Never"], expect=3).reason == "SignatureMissing"
    # IfPresent takes the database without, and serves none.
    mirror = ArchMirror("never", url, ("core",), trust=web.trust(), keys=files)
    place.sync(mirror)
    checked(place, server, mirror)
    assert ask(server, "never/core/os/x86_64/core.db.sig").status == 404


_VERSIONS = itertools.count(2)


def publish(place: Place, upstream: ArchUpstream, mirror: ArchMirror, server: Server) -> None:
    upstream.add("core", "tool", f"{next(_VERSIONS)}-1")
    place.sync(mirror)
    place.wait_until_served(server, mirror)


@contextlib.contextmanager
def between(server: Server, then: Callable[[], None]) -> Iterator[str]:
    """The server's address through a proxy, which does something after each database."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("GET", self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            if self.path.endswith(".db") and answer.status in (200, 304):
                then()

        def log_message(self, *_words: object) -> None:
            pass

    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    serving = threading.Thread(target=proxy.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_port}/"
    finally:
        proxy.shutdown()
        serving.join()
        proxy.server_close()


def race(place: Place, upstream: ArchUpstream, mirror: ArchMirror, pacmans: list[Pacman], seconds: float = 10) -> list[str]:
    """What pacmans complain of that read databases while they are renewed."""
    wrong: list[str] = []
    until = time.monotonic() + seconds

    def read(pacman: Pacman) -> None:
        while time.monotonic() < until:
            done = pacman.run("-Sy")
            if done.returncode or COMPLAINT.search(done.stdout + done.stderr):
                wrong.append(done.stdout + done.stderr)

    readers = [threading.Thread(target=read, args=[pacman]) for pacman in pacmans]
    for reader in readers:
        reader.start()
    while time.monotonic() < until:
        started = time.monotonic()
        upstream.add("core", "tool", f"{next(_VERSIONS)}-1")
        place.sync(mirror)
        time.sleep(max(0, 0.5 - (time.monotonic() - started)))
    for reader in readers:
        reader.join()
    return wrong


@story("`mirrorfleet init` takes the keyrings of a machine's pacman: of a large one the masters alone, whose package brings the rest")
def init_takes_the_keyrings_of_a_machine(place: Place) -> None:
    web, upstream = of_a_packager(place)
    keys = "usr/share/pacman/keyrings"
    upstream.add("core", "archlinux-keyring", files={f"{keys}/{name.replace('test', 'archlinux')}": text for name, text in web.files().items()})
    upstream.add("core", "one")
    machine = place.workdir / "machine"
    (machine / "etc").mkdir(parents=True)
    (machine / keys).mkdir(parents=True)
    options = "[options]\nArchitecture = x86_64\nSigLevel = Required DatabaseOptional\n"
    (machine / "etc/pacman.conf").write_text(f"{options}[core]\nServer = {place.url('arch')}$repo/os/$arch\n")
    for name, text in web.files().items():
        if text and not name.endswith(".gpg"):
            (machine / keys / name.replace("test", "archlinux")).write_text(text)
    export = place.workdir / "export.gpg"
    masters = place.ring.export(export, *MASTERS).read_bytes()
    packagers = place.ring.export(export, "packager").read_bytes()
    (machine / keys / "own.gpg").write_bytes(place.ring.export(export, "archive").read_bytes())

    def written(keyring: bytes) -> str:
        (machine / keys / "archlinux.gpg").write_bytes(keyring)
        return begun(place, machine / "etc/pacman.conf")[1].read_text()

    text = written(masters + packagers)
    assert "keyringPackage" not in text and "additionalKeyringRefs" in text and "signatures: None" not in text, text
    text = written(masters + packagers * 600)
    assert "keyringPackage: archlinux-keyring" in text, text
    assert len(text) < 100_000, f"{len(text)} bytes are not the masters alone"
    # Who is not in the machine's keyrings is refused.
    place.ring.make("stranger")
    upstream.owner = "stranger"
    upstream.add("core", "two")
    done = place.mirrorfleet("sync", "-f", place.workdir / "manifests.yaml", "--mirror", "mirror-127-0-0-1", "--data", place.data)
    assert done.returncode == 3 and "KeyUnknown" in done.stdout + done.stderr, done.stdout + done.stderr


@story("what a hostile upstream of pacman's repositories tries has a reason, leaves what was served, and heals by itself")
def hostile_repositories(place: Place) -> None:
    web, upstream = of_a_packager(place)
    for number in range(40):
        upstream.add("core", f"tool{number}")
    upstream.add("extra", "other")
    mirror = arch_mirror(place, "arch", "core", "extra", trust=web.trust(), keys=web.files())
    place.sync(mirror)
    server = place.serve()
    checked(place, server, mirror)
    before = ask(server, "arch/core/os/x86_64/core.db").body
    top = upstream.root

    def refused(reason: str, code: int = 3) -> str:
        run_ = place.sync(mirror, expect=code)
        assert run_.reason == reason, f"{reason}: {run_.text}"
        assert ask(server, "arch/core/os/x86_64/core.db").body == before, reason
        return run_.text

    # A signature without end.
    package = upstream.add("core", "endless")
    with package.signature.open("wb") as signature:
        signature.truncate(1 << 30)
    assert "endless-1-1" in refused("TooLarge")
    upstream.remove("core", "endless")
    # The master's clock goes back.
    now = (top / "lastupdate").read_text()
    (top / "lastupdate").write_text("1500000000\n")
    refused("RollbackDetected")
    (top / "lastupdate").write_text(now)
    # New bytes under a known name, well signed and well listed.
    good = (upstream.packages["core", "tool1"].file.read_bytes(), upstream.packages["core", "tool1"].signature.read_bytes())
    upstream.add("core", "tool1", content="other bytes under the same name")
    assert "tool1-1-1" in refused("ContentMutated")
    package = upstream.packages["core", "tool1"]
    package.file.write_bytes(good[0])
    package.signature.write_bytes(good[1])
    upstream._repo_tool("repo-add", "core", package.file.name)  # noqa: SLF001
    upstream.publish()
    # Most packages are gone at once.
    database = upstream.database("core").read_bytes()
    for number in range(2, 40):
        upstream._repo_tool("repo-remove", "core", f"tool{number}")  # noqa: SLF001
    upstream.publish()
    refused("ShrinkRefused")
    # All of it again, and something new: nobody does anything.
    upstream.database("core").write_bytes(database)
    upstream.add("core", "new")
    place.sync(mirror)
    checked(place, server, mirror)
    assert ask(server, "arch/core/os/x86_64/new-1-1-any.pkg.tar.zst").status == 200
