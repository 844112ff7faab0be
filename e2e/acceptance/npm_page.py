"""A registry on the status page of `mirrorfleet local`: how it is, and what its clients are told."""

from __future__ import annotations

import json
import urllib.request

from lab.waiting import wait_until

from .npm import Copy, stocked
from .npm_clients import CLIENTS, project, required
from .place import Place, free_port
from .registry import story


class Shown(Copy):
    """The same with a status page."""

    def start(self) -> None:
        self.page_port = free_port()
        super().start()

    def command(self) -> list:
        command = super().command()
        at = command.index("--status-listen") + 1
        return [*command[:at], f"127.0.0.1:{self.page_port}", *command[at + 1 :]]

    def told(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page_port}/mirrors/-/npm.json", timeout=20) as answer:
            return json.loads(answer.read())


@story("the status page of local shows a registry: npm and Yarn take the files that it prints, and it says why nothing new comes")
def a_registry_on_the_status_page(place: Place) -> None:
    for name in ("npm12", "yarn4"):
        CLIENTS[name].program()
    upstream = stocked()
    try:
        copy = Shown(place, upstream)
        wait_until(lambda: copy.told()["well"], 90, "the registry to be well")
        files = {file["path"]: file["text"] for file in copy.told()["copies"][0]["clients"]}
        assert set(files) == {"~/.npmrc", "~/.yarnrc.yml"} and all(copy.url() in text for text in files.values()), files
        for name in ("npm12", "yarn4"):
            client, folder = CLIENTS[name], project(place.workdir, name, {"top": "^0.1.0"})
            home = folder / ".home"
            home.mkdir()
            for path, text in files.items():
                (home / path.removeprefix("~/")).write_text(text)
            if name == "yarn4":
                # Else Yarn 4 has no node_modules.
                (folder / ".yarnrc.yml").write_text("nodeLinker: node-modules\nenableGlobalCache: false\nenableImmutableInstalls: false\n")
            client.run(folder, *client.install, registry=None)
            assert required(folder, "top") == "top@0.1.0", name

        copy.spec["pullThrough"] = {"offline": True}
        copy.again()
        problems = wait_until(lambda: copy.told()["problems"], 90, "the page to say that nothing is asked for")
        assert [problem["reason"] for problem in problems] == ["Offline"], problems
        del copy.spec["pullThrough"]
        copy.again()
        wait_until(lambda: copy.told()["well"], 90, "the registry to be well again")
    finally:
        upstream.stop()
