"""`python3 -m lab COMMAND`: the lab by hand."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from . import keeper, packages, tools
from .own import Lab
from .waiting import LabError, tail


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="e2e/cluster", description="A real two-node Kubernetes cluster on this machine.")
    top.add_argument(
        "--workdir",
        type=Path,
        default=os.environ.get("MIRRORFLEET_LAB") or tools.cache_root() / "cluster",
        help="where logs, kubeconfig and the nodes' disks are (or MIRRORFLEET_LAB; default: %(default)s)",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    add("up", "Start the cluster; it stays until `down`.")
    add("down", "End the cluster and remove everything but its logs.")
    add("status", "Whether it is up, with its nodes, pods and programs.")
    add("kubeconfig", "Print the path of a kubeconfig for this machine (a loopback port leads to the API server).")
    run = add("exec", "Run a command inside the lab, with KUBECONFIG and PATH set: exec -- kubectl get pods -A")
    run.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD...")
    add("load-image", "Import a docker or OCI archive on all nodes.").add_argument("archive", type=Path)
    add("node-down", "Cut a node's power; returns when the cluster has noticed.").add_argument("name")
    add("node-up", "Give a node power again; returns when it is Ready.").add_argument("name")
    add("restart", "Restart a component (see `status`).").add_argument("component")
    logs = add("logs", "Print the end of a log, or list the logs.")
    logs.add_argument("name", nargs="?")
    logs.add_argument("-n", "--lines", type=int, default=40)
    add("tools", "Compile the cluster's programs into the cache; print their directories.")
    add("packages", "Install the Debian packages that are missing.")
    return top


def run(options: argparse.Namespace) -> int:
    lab = Lab(options.workdir)
    command = options.command
    if command == "up":
        if lab.is_up():
            print(f"it is up already, in {lab.workdir}", file=sys.stderr)
        else:
            lab.up(detach=True)
        print(f"export KUBECONFIG={lab.kubeconfig}")
    elif command == "down":
        lab.down()
    elif command == "status":
        if not lab.is_up():
            print(f"no lab is up in {lab.workdir}")
            return 1
        print(lab.picture(None))
        for component in lab.components():
            print(f"{component:32} {lab.component_state(component)}")
    elif command == "kubeconfig":
        print(lab.attach().kubeconfig)
    elif command == "exec":
        argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
        if not argv:
            raise LabError("exec needs a command")
        wrapped = lab.attach().command(argv)
        os.execvpe(wrapped[0], wrapped, lab.environment)
    elif command == "load-image":
        lab.attach().load_image(options.archive)
    elif command == "node-down":
        lab.attach().node_down(options.name)
    elif command == "node-up":
        lab.attach().node_up(options.name)
    elif command == "restart":
        lab.attach().restart(options.component)
    elif command == "logs":
        if options.name:
            print(tail(lab.layout.log(options.name), options.lines))
        else:
            print("\n".join(sorted(path.stem for path in lab.layout.logs.glob("*.log"))))
    return 0


def main() -> int:
    # The process that keeps a lab alive; started by `up`, and not a command for people.
    if sys.argv[1:2] == ["keeper"]:
        return keeper.main(sys.argv[2:])
    options = parser().parse_args()
    try:
        if options.command == "tools":
            return tools.main([])
        if options.command == "packages":
            return packages.main([])
        return run(options)
    except (LabError, TimeoutError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
