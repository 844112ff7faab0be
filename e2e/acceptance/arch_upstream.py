"""Upstreams with pacman's repositories, made by its own repo-add."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from archive import run

from .keys import KeyRing, address


@dataclass
class Package:
    repo: str
    name: str
    version: str
    architecture: str
    #: In the folder of its repository.
    file: Path

    @property
    def signature(self) -> Path:
        return self.file.with_name(self.file.name + ".sig")


@dataclass
class ArchUpstream:
    """One folder that a web server serves. `publish` renews the clocks, `add` and `remove` the databases."""

    root: Path
    layout: str = "$repo/os/$arch"
    #: Of repositories that lie elsewhere.
    paths: dict[str, str] = field(default_factory=dict)
    architecture: str = "x86_64"
    #: Where the files are of which repositories hold links, as in Arch Linux.
    pool: str = ""
    suffix: str = "gz"
    #: Whose signatures lie beside packages; nobody's without.
    ring: KeyRing | None = None
    owner: str = "archive"
    #: Older versions of repo-add put signatures into the database.
    inline: bool = False
    #: Whether databases have a signature too, as repo-add makes it.
    signs_databases: bool = False
    clock: bool = True
    #: Seconds since 1970; each change is one later.
    now: int = 1_700_000_000
    packages: dict[tuple[str, str], Package] = field(default_factory=dict)

    def folder(self, repo: str) -> Path:
        folder = self.root / self.paths.get(repo, self.layout).replace("$repo", repo).replace("$arch", self.architecture)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def database(self, repo: str, kind: str = "db") -> Path:
        return self.folder(repo) / f"{repo}.{kind}.tar.{self.suffix}"

    def add(self, repo: str, name: str, version: str = "1-1", *, architecture: str = "any", content: str = "", groups: tuple[str, ...] = (), files: dict[str, str] | None = None) -> Package:
        return self.list(self.build(repo, name, version, architecture, content, groups, files))

    def list(self, package: Package) -> Package:
        """Puts one that was built into its repository, with its signature."""
        if self.inline:
            self._sign(package)
        self._repo_tool("repo-add", package.repo, package.file.name)
        if not self.inline:
            self._sign(package)
        self.packages[package.repo, package.name] = package
        self.publish()
        return package

    def remove(self, repo: str, name: str, *, files: bool = True) -> None:
        package = self.packages.pop((repo, name))
        self._repo_tool("repo-remove", repo, name)
        if files:
            for file in (package.file, package.signature):
                file.unlink(missing_ok=True)
        self.publish()

    def build(self, repo: str, name: str, version: str, architecture: str = "any", content: str = "", groups: tuple[str, ...] = (), files: dict[str, str] | None = None) -> Package:
        """As makepkg does, which would not run as root."""
        folder = self.folder(repo)
        source = self.root / ".build" / name
        shutil.rmtree(source, ignore_errors=True)
        (source / "usr/share").mkdir(parents=True)
        (source / "usr/share" / name).write_text(content or f"{name} {version}\n")
        for path, text in (files or {}).items():
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text(text)
        info = {
            "pkgname": name, "pkgbase": name, "pkgver": version, "pkgdesc": f"the package {name}", "url": "https://example.org",
            "builddate": self.now, "packager": "Somebody <somebody@example.org>", "size": 1024, "arch": architecture, "license": "GPL",
        }  # fmt: skip
        lines = [f"{key} = {value}" for key, value in info.items()] + [f"group = {group}" for group in groups]
        (source / ".PKGINFO").write_text("\n".join(lines) + "\n")
        file = f"{name}-{version}-{architecture}.pkg.tar.zst"
        place = self.root / self.pool if self.pool else folder
        place.mkdir(parents=True, exist_ok=True)
        run(["bsdtar", "--zstd", "-cf", place / file, ".PKGINFO", "usr"], cwd=source)
        # Of what had this name before; repo-add would take it.
        for old in (place, folder):
            (old / f"{file}.sig").unlink(missing_ok=True)
        self._link(place / file, folder)
        return Package(repo, name, version, architecture, folder / file)

    def publish(self) -> None:
        """The clocks as the master writes them, and the databases' times."""
        self.now += 1
        for repo in {repo for repo, _ in self.packages}:
            for kind in ("db", "files"):
                database = self.database(repo, kind)
                self._sign_database(database, repo, kind)
                if database.stat().st_mtime > self.now:
                    os.utime(database, (self.now, self.now))
        if self.clock:
            (self.root / "lastupdate").write_text(f"{self.now}\n")
        self.beat()

    def beat(self) -> None:
        """The master is alive, and nothing is new."""
        self.now += 1
        if self.clock:
            (self.root / "lastsync").write_text(f"{self.now}\n")

    def _repo_tool(self, tool: str, repo: str, *arguments: str) -> None:
        run([tool, "-q", self.database(repo).name, *arguments], cwd=self.folder(repo))

    def _sign_database(self, database: Path, repo: str, kind: str) -> None:
        """Where it is new. The link is as repo-add makes it."""
        signature = database.with_name(database.name + ".sig")
        if self.ring is None or not self.signs_databases or (signature.exists() and signature.stat().st_mtime >= database.stat().st_mtime):
            return
        self.ring.sign_file(address(self.owner), database, signature)
        self._link_as(signature, database.with_name(f"{repo}.{kind}.sig"))

    @staticmethod
    def _link_as(file: Path, link: Path) -> None:
        link.unlink(missing_ok=True)
        link.symlink_to(file.name)

    def _sign(self, package: Package) -> None:
        if self.ring is None:
            return
        place = package.file.resolve()
        signature = place.with_name(place.name + ".sig")
        self.ring.sign_file(address(self.owner), place, signature)
        self._link(signature, package.file.parent)

    def _link(self, file: Path, folder: Path) -> None:
        if file.parent != folder:
            link = folder / file.name
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(file, folder))
