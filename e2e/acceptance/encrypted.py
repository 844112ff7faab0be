"""https: our own, and a proxy's in front of us; clients rely on the same as without."""

from __future__ import annotations

from archive import run
from lab.nginx import nginx

from .apt import Apt
from .certificate import Certificate
from .debian import Suite
from .interposer import Interposer
from .place import Mirror, Place, free_port, wait_for_port
from .registry import story
from .retention import Upstream

SUITE = Suite("stable", suite="stable", codename="stable")
INRELEASE = "debian/dists/stable/InRelease"
ALWAYS = {"serving": {"transactions": "Always"}}
APT = "Debian APT-HTTP/1.3 (2.6.1)"
FRONT = """
ssl_certificate {certificate}; ssl_certificate_key {key};
server {{
    listen 127.0.0.1:{port} ssl http2; server_name localhost;
    location / {{ proxy_pass http://127.0.0.1:{backend}; {headers} }}
}}
"""
#: Where the proxies of these stories are.
HERE = "127.0.0.0/8"
#: What docs/routes.md says that a proxy must say.
HOST_KEPT = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;"
#: What others say instead: Apache keeps its own Host.
HOST_FORWARDED = "proxy_set_header X-Forwarded-Host $http_host; proxy_set_header X-Forwarded-Proto $scheme;"
PASSWORD = 'auth_basic "mirror"; auth_basic_user_file {users}; '


def front(place: Place, certificate: Certificate, backend: int, headers: str) -> int:
    """nginx, which ends TLS and speaks plain HTTP to `backend`."""
    port = free_port()
    prefix = place.workdir / f"front-{port}"
    rules = FRONT.format(port=port, backend=backend, headers=headers, certificate=certificate.chain, key=certificate.key)
    place.start(prefix.name, nginx(prefix, rules))
    wait_for_port(port)
    return port


def mirrored(place: Place) -> tuple[Certificate, Upstream, Mirror]:
    """A certificate for localhost, an upstream, and a mirror of it that is synced."""
    upstream = Upstream(place, SUITE)
    mirror = upstream.mirror(**ALWAYS)
    place.sync(mirror)
    return Certificate.make(place.workdir), upstream, mirror


def update_across_publishes(place: Place, upstream: Upstream, port: int, certificate: Certificate) -> None:
    """apt that is told to do without by-hash, at `https://localhost:port`."""
    before = upstream.number
    apt = Apt(
        place.workdir / f"apt-{port}", place.keyring, f"deb https://localhost:{port}/debian stable main",
        **{"Acquire__By-Hash": "no", "Acquire__https__CAInfo": str(certificate.chain)},
    )  # fmt: skip
    for _ in range(3):
        apt.forget_lists()
        said = apt.update()
        assert f"https://Localhost:{port}/.mirrorfleet/s/" in said, f"apt was not led into a snapshot:\n{said}"
        apt.download("kept")
    assert upstream.number >= before + 3, f"only {upstream.number - before} publishes came in between"


@story("apt over our own https, without by-hash, does not notice a publish in the middle of its update")
def our_https_survives_a_publish_in_the_middle(place: Place) -> None:
    certificate, upstream, mirror = mirrored(place)
    server = place.serve(certificate)
    with Interposer(after="InRelease", then=lambda: upstream.advance(mirror), before=server, certificate=certificate) as between:
        update_across_publishes(place, upstream, between.port, certificate)


@story("nor over the https of an nginx in front of us, which keeps Host or says it in X-Forwarded-Host")
def https_in_front_survives_a_publish_in_the_middle(place: Place) -> None:
    certificate, upstream, mirror = mirrored(place)
    server = place.serve(behind=HERE)
    with Interposer(after="InRelease", then=lambda: upstream.advance(mirror), before=server) as between:
        for headers in (HOST_KEPT, HOST_FORWARDED):
            update_across_publishes(place, upstream, front(place, certificate, between.port, headers), certificate)


@story("apt with a password for the proxy in front of us is not sent to where it has none")
def a_password_is_asked_for_in_one_spelling(place: Place) -> None:
    certificate, *_ = mirrored(place)
    users, passwords = place.workdir / "users", place.workdir / "auth.conf"
    users.write_text("reader:{PLAIN}secret\n")
    port = front(place, certificate, place.serve(behind=HERE).port, PASSWORD.format(users=users) + HOST_KEPT)
    passwords.write_text(f"machine localhost:{port} login reader password secret\n")
    apt = Apt(
        place.workdir / "apt", place.keyring, f"deb https://localhost:{port}/debian stable main",
        Acquire__https__CAInfo=str(certificate.chain), Dir__Etc__netrc=str(passwords),
    )  # fmt: skip
    assert "/.mirrorfleet/s/" not in apt.update()
    apt.download("kept")


@story("an nginx whose word does not count is no harm: apt over its https is led nowhere, and installs")
def a_proxy_that_nobody_declared_leads_nowhere(place: Place) -> None:
    certificate, *_ = mirrored(place)
    port = front(place, certificate, place.serve().port, HOST_KEPT)
    apt = Apt(place.workdir / "apt", place.keyring, f"deb https://localhost:{port}/debian stable main", Acquire__https__CAInfo=str(certificate.chain))
    assert "/.mirrorfleet/s/" not in apt.update()
    apt.download("kept")


@story("a client that speaks h2 is led to the same place, and one that says of itself what only a proxy may is led nowhere")
def h2_leads_to_the_same_place(place: Place) -> None:
    certificate, *_ = mirrored(place)
    server = place.serve(certificate)
    asked = ["curl", "--silent", "--http2", "--cacert", certificate.chain, "--user-agent", APT, "--output", "/dev/null"]
    asked += ["--write-out", "%{http_version} %{response_code} %{redirect_url}", server.url(INRELEASE)]
    version, code, place_told = run(asked).split(" ")
    assert (version, code) == ("2", "302"), f"{version} {code} {place_told}"
    assert place_told.startswith(f"https://Localhost:{server.port}/.mirrorfleet/s/"), place_told
    for lie in ("X-Forwarded-Proto: http", "X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil", "Forwarded: host=evil.example;proto=http"):
        version, code, place_told = run([*asked, "--header", lie]).split(" ")
        assert (version, code, place_told) == ("2", "200", ""), f"{lie}: {version} {code} {place_told}"
