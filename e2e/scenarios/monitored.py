"""A fleet in trouble, as it looks on the dashboards of a real Prometheus and in a real Alertmanager."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lab import wait_until
from watching import Period, filled, hurried, wait_for_alerts
from world import PACKAGE, UPSTREAM_PORT

from . import arch, canary
from .clocks import is_told, wrong_clock
from .controller import scale_controller
from .npm import registry
from .registry import scenario
from .runbooks import Reader

from monitoring.alerts import ALERTS  # noqa: E402 at the top of the repository
from monitoring.dashboards import DASHBOARDS  # noqa: E402
from monitoring.grafana import document  # noqa: E402
from monitoring.runbooks import DONE  # noqa: E402

#: What of the thresholds is shorter here, beside `for`.
THRESHOLDS = {"hours": 0.001, "intervals": 1, "percent": 50, "errors": 1, "days": 2000}
#: Alerts that look further ahead than a test does, and the one whose share of errors is a share already.
AS_THEY_ARE = ("indexExpires", "serverErrors")
HEALTHY_SECONDS = 15
#: At this bandwidth the big package takes longer than the whole scenario does on a busy machine: eleven minutes.
SLOW, SLOW_KILOBYTES = {"bandwidth": "60k"}, 40_000


def shortened() -> list[str]:
    """Values of the chart."""
    alerts = {}
    for alert in ALERTS:
        shorter = {} if alert.key in AS_THEY_ARE else {name: value for name, value in THRESHOLDS.items() if name in alert.thresholds}
        alerts[alert.key] = {"for": "1s", **shorter}
    return ["--set-json", f"monitoring.rules.alerts={json.dumps(alerts)}"]


class Seen:
    """Three namespaces that are watched: one with what is told of regions, one with a small volume and Mirrors of other types, one that is slow."""

    def __init__(self, world, cleanup: ExitStack, name: str, port: int) -> None:
        self.world, self.cleanup, self.namespaces = world, cleanup, f"e2e-{name}.*"
        self.watch = cleanup.enter_context(hurried(world, name, port, *shortened()))
        self.main, self.full, self.slow = (cleanup.enter_context(world.fleet(f"{name}{part}")) for part in ("", "-full", "-slow"))
        small = f"{name}-small"
        world.lab.small_volume("node-a", small, 24, storage_class=small)
        self.start = time.time()
        both = [{"name": name, "nodeSelector": {"topology.kubernetes.io/region": name}} for name in ("region-a", "region-b")]
        self.main.apply(self.main.keyring(), self.main.upstream(endpoints=[{"name": "near", "url": self.main.url()}]), self.main.mirror(freshness={"objective": "1s"}, regions=both))
        self.full.apply(self.full.keyring(), self.full.upstream(), self.full.mirror(storage={"size": "20Mi", "storageClassName": small}), self.full.mirror("lazy", mode="PullThrough"))
        # Of an upstream where nobody listens.
        self.full.apply(*registry(self.full, f"http://{world.lab.host_ip}:9"))
        self.packages = arch.Packages(self.full, cleanup)
        self.full.apply(*self.packages.manifests())
        self.slow.apply(self.slow.keyring(), self.slow.upstream(), self.slow.mirror(), self.slow.mirror("waiting"))
        for fleet, mirror in ((self.main, "debian"), (self.full, "debian"), (self.full, "lazy"), (self.full, "npm"), (self.full, arch.NAME), (self.slow, "debian"), (self.slow, "waiting")):
            fleet.wait_ready(mirror)
        wait_until(lambda: self.main.get()["status"].get("regionsReady") == "2/2", 240, "both regions")

    def period(self) -> Period:
        return Period(self.watch, namespace=self.namespaces)

    def receives(self, places: dict[str, object], timeout: float) -> dict[str, dict]:
        """Waits for alerts, each of a fleet's namespace or of none; by name, as the Alertmanager has them."""
        wanted = {(f"Mirrorfleet{name}", fleet.namespace if fleet else ""): name for name, fleet in places.items()}
        alerts = wait_for_alerts(self.watch, set(wanted), timeout)
        return {name: alerts[one] for one, name in wanted.items()}

    def is_told(self, told: dict[str, tuple[object, tuple[str, ...]]], timeout: float) -> dict[str, dict]:
        """The same, once each speaks of its words: one may have begun for another reason, and tells of a new one only when it
        is evaluated again."""

        def spoken() -> dict[str, dict] | None:
            alerts = self.receives({name: fleet for name, (fleet, _) in told.items()}, timeout)
            texts = {name: alert["annotations"]["description"] for name, alert in alerts.items()}
            silent = {name: texts[name] for name, (_, words) in told.items() if not all(word in texts[name] for word in words)}
            found.update(silent=silent)
            return None if silent else alerts

        found: dict[str, object] = {}
        return wait_until(spoken, timeout, "alerts that tell of their fault", 1, lambda: found)

    # All is well

    def healthy(self) -> Period:
        self.main.sync()
        period = self.period()
        until = time.monotonic() + HEALTHY_SECONDS
        while time.monotonic() < until:
            self.main.apt_download()
            self.ask_registry("-/ping")
            self.full.curl(f"{self.full.mirror_url(arch.NAME)}/lastsync")
        return period.ends()

    # Troubles

    def region_left_out(self) -> None:
        """One that follows, in a place where there is no node."""
        nowhere = {"name": "nowhere", "follows": "region-a", "nodeSelector": {"topology.kubernetes.io/region": "nowhere"}}
        self.slow.apply(self.slow.mirror("parted", rollout={"patience": "10s"}, regions=[self.slow.mirror()["spec"]["regions"][0], nowhere]))
        self.slow.lab.wait_for("mirror", "parted", self.slow.namespace, lambda mirror: mirror["status"].get("publication"), 180, "the other region to serve")

    def clock_wrong(self) -> None:
        region = self.cleanup.enter_context(wrong_clock(self.world, self.main, -600))
        is_told(self.main, region)

    def canary_failed(self) -> None:
        """One region goes first, at an address where packages are other ones."""
        hub = self.slow.mirror()["spec"]["regions"][0]
        first = {"name": "first", "follows": hub["name"], "publicUrl": canary.elsewhere(self.slow)}
        self.slow.apply(self.slow.mirror("tried", regions=[hub, first], rollout={"canary": {"region": "first"}}))
        self.slow.wait_ready("tried")
        self.slow.archive.add_package("stable", "tried", "1.0")
        self.slow.archive.publish("stable")
        self.slow.request_sync("tried")
        self.slow.lab.wait_for("mirror", "tried", self.slow.namespace, lambda mirror: mirror["status"]["publication"].get("halted"), 120, "it to be halted")

    def region_stale(self) -> None:
        self.main.archive.add_package("stable", PACKAGE, "2.0")
        self.main.archive.publish("stable")
        # An Upstream that was edited is asked at once.
        self.main.apply(self.main.upstream(probe={"interval": "2m"}, endpoints=[{"name": "near", "url": self.main.url()}]))
        self.main.lab.wait_condition("mirror", "debian", self.main.namespace, "Fresh", "False", timeout=120)

    def verification_refused(self) -> None:
        self.main.archive.tamper_release("stable")
        for _ in range(2):
            attempt = self.main.sync()["lastAttempt"]
            assert attempt["reason"] == "SignatureBad", attempt

    def storage_failed(self) -> None:
        self.full.archive.add_package("stable", "big-package", "1.0", kilobytes=40_000)
        self.full.archive.publish("stable")
        attempt = self.full.sync()["lastAttempt"]
        assert attempt["reason"] == "StorageFull", attempt

    def store_damaged(self) -> None:
        """The file of the package is cut on the volume, and a client asks for it."""
        package = next(self.main.archive.root.rglob(f"{PACKAGE}_1.0_*.deb"))
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        # Not the whole disk: containers come and go on it.
        volumes = self.world.lab.layout.node_disk("node-a") / "lib" / "local-path"
        claim = next(claim["spec"]["volumeName"] for claim in self.main.claims() if "region-a" in claim["metadata"]["name"])
        (blob,) = [blob for volume in volumes.glob(f"*{claim}*") for blob in volume.rglob(f"blobs/{digest[:2]}/{digest[2:]}")]
        os.truncate(blob, 100)
        url = f"{self.main.mirror_url()}/{package.relative_to(self.main.archive.root)}"
        for _ in range(30):
            self.world.lab.exec(["curl", "-sS", "--max-time", "5", "-o", os.devnull, url], check=False)
        # Before a run mends it.
        seen = f'mirrorfleet_damaged_blobs{{namespace="{self.main.namespace}"}} > 0'
        wait_until(lambda: self.watch.query(seen), 120, "the damage in Prometheus", 1)

    def upstream_unreachable(self) -> None:
        away = {**self.slow.upstream(), "metadata": {"name": "away"}}
        away["spec"]["authority"]["url"] = f"http://{self.world.lab.host_ip}:{UPSTREAM_PORT}/nothing-is-here/"
        away["spec"]["endpoints"] = [{"name": "gone", "url": f"http://{self.world.lab.host_ip}:{UPSTREAM_PORT}/nothing-is-here-either/"}]
        self.slow.apply(away, self.slow.mirror("away", upstreamRef={"name": "away"}))
        self.slow.lab.wait_condition("upstream", "away", self.slow.namespace, "Reachable", "False")

    def registry_upstream_blocked(self) -> None:
        for number in range(4):
            self.ask_registry(f"nothing-{number}")

    def ask_registry(self, path: str) -> None:
        (service,) = self.full.lab.list("services", self.full.namespace, "mirrorfleet.dev/mirror=npm")
        self.full.lab.exec(["curl", "-sS", "--max-time", "20", f"http://{service['spec']['clusterIP']}/npm/{path}"])

    def reconcile_failing(self) -> None:
        """What a quota does not allow is tried again, and fails again."""
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"persistentvolumeclaims": "2"}}}
        self.main.apply(quota)
        self.main.lab.wait_for("resourcequota", "none", self.main.namespace, lambda it: "hard" in it.get("status", {}), 90, "the quota to count")
        self.main.apply(self.main.mirror("refused"))

    def slow_run(self) -> None:
        """One Mirror's run lasts, so another one waits for its turn."""
        self.slow.archive.add_package("stable", "big-package", "1.0", kilobytes=SLOW_KILOBYTES)
        self.slow.archive.publish("stable")
        self.slow.apply(self.slow.upstream(politeness=SLOW))
        self.slow.request_sync()
        self.slow.running_sync_pod()
        self.slow.lab.patch("mirror", "waiting", {"spec": {"sync": {"schedule": "* * * * *"}}}, self.slow.namespace)

    def slot_missed(self) -> None:
        """Its slot comes while it waits for its turn, and then its schedule is another one."""

        def is_due(mirror: dict) -> bool:
            due = mirror["status"].get("nextSyncTime")
            return bool(due) and datetime.fromisoformat(due) < datetime.now(UTC)

        self.slow.lab.wait_for("mirror", "waiting", self.slow.namespace, is_due, 180, "a slot to come")
        self.slow.lab.patch("mirror", "waiting", {"spec": {"sync": {"schedule": "0 0 1 1 *"}}}, self.slow.namespace)
        counted = f'mirrorfleet_sync_missed_runs_total{{namespace="{self.slow.namespace}"}} > 0'
        wait_until(lambda: self.watch.query(counted), 90, "the slot to be counted as missed")

    # Only where all alerts are looked for

    def index_expires(self) -> None:
        self.full.archive.publish("stable", valid_for=timedelta(hours=1))
        assert self.full.sync()["lastAttempt"]["reason"] == "Prepared"

    def storage_filling(self) -> None:
        self.full.archive.add_package("stable", "filler", "1.0", kilobytes=14_000)
        self.full.archive.publish("stable", valid_for=timedelta(hours=1))
        assert self.full.sync()["lastAttempt"]["reason"] == "Prepared"

    def not_serving(self) -> None:
        self.slow.apply(self.slow.mirror("crashing", serving={"tls": {"secretName": "not-there"}}))

    def upstream_contradicts(self) -> None:
        """Two contents of one date."""
        date = datetime.now(UTC)
        for package, wanted in (("one-package", "Prepared"), ("other-package", "")):
            self.slow.archive.add_package("stable", package)
            self.slow.archive.publish("stable", date=date)
            reason = self.slow.sync()["lastAttempt"]["reason"]
            assert wanted in ("", reason), reason

    def nothing_synced(self) -> None:
        """Its runs are a minute apart now, and the last good one is longer ago."""
        self.main.lab.patch("mirror", "debian", {"spec": {"sync": {"schedule": "* * * * *"}}}, self.main.namespace)
        soon = f'mirrorfleet_sync_next_run_timestamp_seconds{{namespace="{self.main.namespace}",mirror="debian"}} < time() + 120'
        wait_until(lambda: self.watch.query(soon), 120, "the controller to tell of the next run")

    def controller_without_leader(self) -> None:
        scale_controller(self.world, 0)


#: There is none before a region's second check, which comes minutes later.
LATER = "mirrorfleet_region_check_duration_stddev_seconds"
#: What of the panels may have nothing of the Mirror of Arch: neither its databases nor its keys expire, its runs are over between two
#: scrapes, and it neither fetches on demand nor is a registry.
OF_OTHERS = ("index_valid_until_", "upstream_key_expiry_", "sync_planned_", "sync_received_", "http_on_demand_", "fill_", "registry_")


def judged(seen: Seen, healthy: Period, faulty: Period) -> str:
    """Each query of each panel has data, and panels about faults show them."""
    whole = seen.period()
    whole.start = seen.start
    whole.ends()
    if place := os.environ.get("MIRRORFLEET_RECORDING"):
        Path(place).write_text(json.dumps(whole.recording([document(board) for board in DASHBOARDS], {"namespace": seen.main.namespace, "mirror": "debian"})))
    panels = [(board, panel) for board in DASHBOARDS for panel in board.panels]
    empty, alike = [], []
    for board, panel in panels:
        name = f"{board.name}: {panel.title}"
        empty += [f"{name}: {filled(query.expression)}" for query in panel.queries if not whole.series(query.expression) and LATER not in query.expression]
        if panel.shows_faults and all(healthy.series(query.expression) == faulty.series(query.expression) for query in panel.queries):
            alike.append(name)
    assert not empty, "\n".join(["without data:", *empty])
    of_arch = Period(seen.watch, namespace=seen.full.namespace, mirror=arch.NAME)
    of_arch.start, of_arch.end = whole.start, whole.end
    concerned = [panel for board, panel in panels if board.name == "mirror" and not any(f"mirrorfleet_{name}" in panel.queries[0].expression for name in OF_OTHERS)]
    silent = [panel.title for panel in concerned if not any(of_arch.series(query.expression) for query in panel.queries)]
    assert len(concerned) > 20 and not silent, f"of a Mirror of Arch there is nothing in {silent}"
    assert not alike, f"no difference between the healthy and the faulty time: {alike}"
    return f"{len(panels)} panels, {sum(panel.shows_faults for _, panel in panels)} about faults"


#: What happens for `every-alert`, in an order in which no trouble hides another one. `slow_run` is not among them.
TROUBLES = (
    "region_left_out", "clock_wrong", "canary_failed", "index_expires", "storage_filling", "storage_failed", "reconcile_failing", "not_serving", "upstream_contradicts", "upstream_unreachable", "registry_upstream_blocked",
    "region_stale", "store_damaged", "verification_refused", "nothing_synced", "controller_without_leader",
)  # fmt: skip


@scenario("real alerts in a real Alertmanager, and data in every panel: a stale region, a refused suite, a full volume", needs=("pod-network", "small-volumes", "own-nodes"), first=True)
def monitored(world):
    with ExitStack() as cleanup:
        seen = Seen(world, cleanup, "seen", 9093)
        healthy = seen.healthy()
        faulty = seen.period()
        seen.slow_run()
        seen.reconcile_failing()
        seen.upstream_unreachable()
        seen.region_stale()
        seen.store_damaged()
        seen.verification_refused()
        seen.packages.intrude()
        seen.storage_failed()
        stale, refused, full = "RegionStale", "VerificationRefused", "StorageFailed"
        alerts = seen.is_told({
            stale: (seen.main, (seen.main.namespace, "region region-")), refused: (seen.main, ("SignatureBad",)), full: (seen.full, ("StorageFull",)),
        }, 180)  # fmt: skip
        seen.is_told({refused: (seen.full, (arch.NAME, "KeyUnknown"))}, 180)
        seen.slot_missed()
        told = judged(seen, healthy, faulty.ends())
        reader = Reader(world, "seen")
        done = sum(reader.look_first(alert["labels"]) + reader.follow(alert["labels"]) for alert in alerts.values())
        return f"{', '.join(alerts)}; {told}; {done} commands of their runbooks"


@scenario("each alert of the chart reaches a real Alertmanager", needs=("pod-network", "small-volumes", "own-nodes"), alone=True, long=True)
def every_alert(world):
    with ExitStack() as cleanup:
        seen = Seen(world, cleanup, "every", 9095)
        cleanup.callback(scale_controller, world, 2)
        seen.healthy()
        for trouble in TROUBLES:
            getattr(seen, trouble)()
        places = {
            **dict.fromkeys(("RegionStale", "VerificationRefused", "NothingSynced", "ServerErrors", "StoreDamaged", "KeyExpires", "ClockWrong"), seen.main),
            **dict.fromkeys(("IndexExpires", "StorageFilling", "StorageFailed", "RegistryUpstreamBlocked"), seen.full),
            **dict.fromkeys(("NotServing", "RegionLeftOut", "CanaryFailed", "UpstreamContradicts", "UpstreamUnreachable", "EndpointUseless"), seen.slow),
            **dict.fromkeys(("ControllerWithoutLeader", "ReconcileFailing")),
        }  # fmt: skip
        known = {alert.name for alert in ALERTS}
        alerts = seen.receives({name: place for name, place in places.items() if f"Mirrorfleet{name}" in known}, 180)
        unmet = known - {f"Mirrorfleet{name}" for name in places}
        assert not unmet, f"alerts of which nobody makes one: {unmet}"
        return f"{len(known)} alerts, {follow_all(world, alerts)} commands of their runbooks"


def follow_all(world, alerts: dict[str, dict]) -> int:
    """First what brings the controller back, then all diagnoses, before a mitigation changes what they are about."""
    reader, labels = Reader(world, "every"), {name: alert["labels"] for name, alert in alerts.items()}
    done = reader.follow(labels.pop("ControllerWithoutLeader"))
    return done + sum(reader.follow(each, [part]) for part in DONE for each in labels.values())
