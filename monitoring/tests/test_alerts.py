"""Each alert fires, stays silent beside a near miss, and does not flap while exporters come and go."""

from __future__ import annotations

import functools
import json
import os
import re
import unittest
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .. import reference, rules
from ..alerts import ALERTS, Alert
from . import promtool
from .promtool import Series
from .worlds import LEADER, MIRROR, UPSTREAM, Outage, Told, always, answers, condition, failed, region, series, step

GOLDEN = Path(__file__).resolve().parent / "told.json"
BY_KEY = {alert.key: alert for alert in ALERTS}
#: Seconds and minutes. What takes days is told from shortly before the threshold on: promtool goes through each minute.
DAY, HOUR = 86400, 60
#: Minutes for which the last value stands in, and a few for the evaluation.
HELD = 12


@dataclass(frozen=True)
class Situation:
    #: What happens; `at` is the first minute in which the alert fires.
    fault: list[Told]
    at: int
    #: What looks like it, and is none: each alone must leave the alert silent.
    near: dict[str, list[Told]] = field(default_factory=dict)
    #: Minutes from the begin of the fault that must pass without an exporter ending.
    reads_rates: bool = False
    #: What else fires it, from which minute on.
    also: dict[str, tuple[list[Told], int]] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, tuple[list[Told], int]]:
        return {"": (self.fault, self.at), **self.also}


def stale(superseded, objective=always(570)) -> list[Told]:
    return [
        region("region_superseded_timestamp_seconds", superseded), region("region_freshness_objective_seconds", objective),
        last_run("UpstreamUnreachable"), failed("UpstreamUnreachable", step(12, 0, 1)),
    ]  # fmt: skip


def last_run(reason: str) -> Told:
    return region("sync_last_run_info", always(1), f',reason="{reason}"')


def storage(used, capacity=100e9) -> list[Told]:
    return [region("storage_used_bytes", used), region("storage_capacity_bytes", always(capacity))]


def succeeded(at, next_run, *more: Told, failures=always(0), hours: float | None = 2) -> list[Told]:
    """Of a Mirror with a run each so many hours, of which the alert lets three go by (`LATE` minutes); none: suspended."""
    return [
        region("region_last_success_timestamp_seconds", at), region("sync_consecutive_failures", failures),
        Told("mirrorfleet_sync_interval_seconds", MIRROR, always(hours and hours * 3600)),
        Told("mirrorfleet_sync_next_run_timestamp_seconds", MIRROR, next_run), *more,
    ]  # fmt: skip


def never(*more: Told, created=always(600), next_run=always(2 * DAY), failures=always(0), hours: float | None = 2, reason: str = "FirstSyncPending") -> list[Told]:
    """As `succeeded`, of a region for which no run ever did."""
    _, *rest = succeeded(None, next_run, *more, failures=failures, hours=hours)
    return [region("region_created_timestamp_seconds", created), *condition("Ready", always(1), reason=reason), *rest]


def expires(at) -> list[Told]:
    return [Told("mirrorfleet_upstream_key_expiry_timestamp_seconds", UPSTREAM, at)]


def endpoint(metric: str, value) -> Told:
    return Told(f"mirrorfleet_upstream_endpoint_{metric}", f'{UPSTREAM},endpoint="fr"', value)


UNIT = ',unit="trixie-updates"'
LATE = 3 * 2 * HOUR
SITUATIONS = {
    "regionLeftOut": Situation(
        [region("region_withdrawn_timestamp_seconds", step(12, 0, 720)), last_run("StorageFull"), failed("StorageFull", step(12, 0, 1))], 12 + HOUR,
        near={"it is offered": [region("region_withdrawn_timestamp_seconds", always(0))], "it comes back": [region("region_withdrawn_timestamp_seconds", lambda minute: 720 if 12 <= minute < 60 else 0)]},
    ),
    "clockWrong": Situation(
        [region("region_clock_skew_seconds", step(20, 0, -600))], 35,
        {
            "all clocks are well": [region("region_clock_skew_seconds", always(0))],
            "set by NTP soon after its node began": [region("region_clock_skew_seconds", lambda minute: 600 if 20 <= minute < 34 else 0)],
        },
        also={"ahead": ([region("region_clock_skew_seconds", step(20, 0, 8))], 35)},
    ),
    "canaryFailed": Situation(
        [Told("mirrorfleet_publication_halted_timestamp_seconds", MIRROR, step(12, 0, 720))], 12,
        {"it soaks": [Told("mirrorfleet_publication_canary_timestamp_seconds", MIRROR, always(720)), Told("mirrorfleet_publication_halted_timestamp_seconds", MIRROR, always(0))]},
    ),
    "regionStale": Situation(
        stale(step(10, 0, 600)), 35,
        {
            "behind, within the objective": stale(always(600), always(86400)),
            "stale for 14 minutes": stale(lambda minute: 600 if 10 <= minute < 34 else 0),
            "current, though nothing may be behind": stale(always(0), always(0)),
        },
    ),
    "indexExpires": Situation(
        [region("index_valid_until_timestamp_seconds", always(2 * DAY + 3600), UNIT)], HOUR + 1 + 15,
        {
            "renewed each hour": [region("index_valid_until_timestamp_seconds", lambda minute: 2 * DAY + (minute // HOUR + 1) * 3600 + 60, UNIT)],
            "of an archive that has ended": [region("index_valid_until_timestamp_seconds", always(-31 * DAY), UNIT)],
        },
    ),
    "verificationRefused": Situation(
        [*condition("Verified", step(20, 0, 1), reason="SignatureBad"), failed("SignatureBad", step(20, 0, 1))], 35,
        {
            "a run that could not reach the upstream": [*condition("Verified", always(0)), failed("UpstreamUnreachable", step(20, 0, 1))],
            "mended by the next run": condition("Verified", lambda minute: int(20 <= minute < 34)),
        },
    ),
    "nothingSynced": Situation(
        succeeded(always(600), always(2 * DAY), failed("UpstreamBusy", step(LATE - 100, 0, 1)), last_run("UpstreamBusy"), failures=step(LATE - 100, 0, 1)), LATE + 11 + 30,
        {
            "a weekly run": succeeded(always(600), always(7 * DAY), failures=always(1), hours=168),
            "suspended after failures": succeeded(always(600), always(None), failures=always(2), hours=None),
            "resumed after a long time": succeeded(always(600), always(2 * DAY)),
            "failed, and then succeeded": succeeded(
                step(LATE, 600, LATE * 60), always(2 * DAY), failed("UpstreamBusy", step(LATE - 100, 0, 1)), failures=lambda minute: int(LATE - 100 <= minute < LATE)
            ),
            "never, and suspended": never(failures=always(2), next_run=always(None), hours=None),
            "never, and its first run still lasts": never(next_run=always(600), reason="FirstSyncRunning"),
            "never, and made within the intervals": never(failures=always(3), created=always((LATE - 100) * 60)),
            "a region that was added lately": [*never(failures=always(0), created=always((LATE - 100) * 60))],
        },
        also={
            "never, and its runs fail": (never(failed("UpstreamUnreachable", step(20, 0, 1)), last_run("UpstreamUnreachable"), failures=step(20, 0, 1)), LATE + 11 + 30),
            "never, and its first run does not begin": (never(next_run=always(600), reason="VolumePending"), LATE + 11 + 30),
        },
    ),
    "notServing": Situation(
        [*condition("Serving", step(20, 0, 1), reason="PodCrashing"), region("region_snapshot_info", always(1), ',snapshot="s1"')], 30,
        {"a pod that starts anew": condition("Serving", lambda minute: int(20 <= minute < 29))},
    ),
    "serverErrors": Situation(
        [answers("2xx", always(50)), answers("5xx", step(20, 0, 10))], 32,
        {
            "few among many": [answers("2xx", always(1000)), answers("5xx", always(10))],
            "few at all": [answers("2xx", always(1)), answers("5xx", always(0.5))],
            "clients' errors": [answers("2xx", always(1)), answers("4xx", always(100))],
        },
        reads_rates=True,
    ),
    "storageFilling": Situation(
        storage(step(20, 50e9, 91e9)), 50,
        {
            "90 % and no growth": storage(always(90e9)),
            "growth that ends below the size": storage(lambda minute: 60e9 + minute * 1e6),
            "cleaned within half an hour": storage(lambda minute: 95e9 if 20 <= minute < 49 else 60e9),
        },
    ),
    "storageFailed": Situation(
        condition("StorageReady", step(20, 0, 1), reason="StorageFull"), 35,
        {"a node that is away for a moment": condition("StorageReady", lambda minute: int(20 <= minute < 34))},
    ),
    "storeDamaged": Situation(
        [region("damaged_blobs", step(20, 0, 3))], 380,
        {"fetched again by the next sync": [region("damaged_blobs", lambda minute: 3 if 20 <= minute < 379 else 0)]},
    ),
    "upstreamContradicts": Situation(
        condition("Consistent", step(20, 0, 1), of="upstream", reason="Equivocation"), 20,
        {"consistent": condition("Consistent", always(0), of="upstream")},
    ),
    "registryUpstreamBlocked": Situation(
        [region("registry_upstream_blocked_until_timestamp_seconds", lambda minute: minute * 60 + 300 if minute >= 20 else None)], 50,
        {"one that answers again within half an hour": [region("registry_upstream_blocked_until_timestamp_seconds", lambda minute: minute * 60 + 300 if 20 <= minute < 39 else None)]},
    ),
    "upstreamUnreachable": Situation(
        condition("Reachable", step(20, 0, 1), of="upstream", reason="UpstreamUnreachable"), 80,
        {"away for 59 minutes": condition("Reachable", lambda minute: int(20 <= minute < 79), of="upstream")},
    ),
    "endpointUseless": Situation(
        [endpoint("reachable", step(20, 1, 0))], 20 + 6 * HOUR,
        {
            "away for five hours": [endpoint("reachable", lambda minute: int(not 20 <= minute < 20 + 5 * HOUR))],
            "a day behind": [endpoint("reachable", always(1)), endpoint("superseded_timestamp_seconds", always(600 - DAY))],
            "current": [endpoint("superseded_timestamp_seconds", always(0))],
        },
        also={"behind for days": ([endpoint("reachable", always(1)), endpoint("superseded_timestamp_seconds", always(20 * HOUR - 2 * DAY))], 20 + 1 + 6 * HOUR)},
    ),
    "keyExpires": Situation(
        expires(always(30 * DAY + 3600)), HOUR + 1 + 60,
        {
            "a new keyring within the hour": expires(step(HOUR + 50, 30 * DAY + 3600, 800 * DAY)),
            "years away": expires(always(800 * DAY)),
        },
    ),
    "controllerWithoutLeader": Situation(
        [Told(LEADER.metric, "", step(20, 1, 0))], 25,
        {"four minutes between two leaders": [Told(LEADER.metric, "", lambda minute: int(not 20 <= minute < 24))]},
    ),
    "reconcileFailing": Situation(
        [Told("mirrorfleet_reconcile_errors_total", 'kind="Mirror",reason="ApiError"', lambda minute: max(0, minute - 19) * 2)], 40,
        {"ten at once, then none": [Told("mirrorfleet_reconcile_errors_total", 'kind="Mirror",reason="ApiError"', step(20, 0, 10))]},
        reads_rates=True,
    ),
}  # fmt: skip


#: The worlds in which each alert is looked at, beside its near misses: each of its faults; the same, and exporters that start anew;
#: that end while it fires; that end before.
FAULT, RESTARTED, GONE, UNSEEN = "the fault ", "exporters start anew ", "exporters end", "nobody tells of the fault"


def worlds(key: str) -> dict[str, list[Series]]:
    situation = SITUATIONS[key]
    at, fault = situation.at, situation.fault
    known = {GONE: (fault, Outage(at + 15)), UNSEEN: (fault, Outage(5)), **{name: (near,) for name, near in situation.near.items()}}
    known |= {FAULT + name: (fault,) for name, (fault, _) in situation.faults.items()}
    if key == "controllerWithoutLeader":
        # A new leader is what ends this one.
        known |= {RESTARTED: ([LEADER], Outage(20, 24), Outage(40, 44)), GONE: ([LEADER], Outage(20))}
    elif situation.reads_rates:
        known[RESTARTED] = (fault, Outage(at + 10, at + 12))
    else:
        # Once while it is about to fire, once while it fires: five minutes without any exporter.
        known |= {RESTARTED + name: (fault, Outage(at - 8, at - 3), Outage(at + 10, at + 15)) for name, (fault, at) in situation.faults.items()}
    return {name: series(told, whole(key), tuple(outages)) for name, (told, *outages) in known.items()}


def whole(key: str) -> int:
    """How many minutes are looked at."""
    return max(at for _, at in SITUATIONS[key].faults.values()) + 60


@functools.cache
def firing(key: str) -> dict[str, list[tuple[int, int]]]:
    """From when until when (excluding) the alert fires in each of its worlds."""
    asked = worlds(key)
    found = promtool.firing_minutes(BY_KEY[key], list(asked.values()), whole(key))
    return {name: blocks(minutes) for name, minutes in zip(asked, found)}


def blocks(firing: list[bool]) -> list[tuple[int, int]]:
    """From when until when (excluding) it fires."""
    edges = [at for at in range(len(firing)) if firing[at] != (firing[at - 1] if at else False)]
    return list(zip(edges[::2], [*edges[1::2], len(firing)]))


class Rules(unittest.TestCase):
    def test_promtool_takes_the_rules(self):
        checked = promtool.check_rules(rules.plain())
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertIn(f"{len(ALERTS)} rules found", checked.stdout)

    def test_no_value_is_left_open(self):
        self.assertNotIn("${", rules.plain())

    def test_every_metric_and_label_is_in_the_reference(self):
        known = reference.metrics()
        for alert in ALERTS:
            for text in (alert.expression, alert.description, alert.summary):
                with self.subTest(alert=alert.name):
                    self.assertEqual(reference.unknown(text, known), [])

    def test_every_alert_is_told_whole(self):
        for alert in ALERTS:
            with self.subTest(alert=alert.name):
                self.assertIn(alert.severity, ("warning", "critical"))
                self.assertTrue(set(alert.variables) <= set(labels_of(alert)), "a variable of the dashboard that the alert has no label for")
                for threshold in alert.thresholds:
                    self.assertIn(f"${{{threshold}}}", alert.expression)

    def test_every_alert_has_its_situations(self):
        self.assertEqual(set(SITUATIONS), set(BY_KEY))


class Firing(unittest.TestCase):
    maxDiff = None

    def each(self, check) -> None:
        """All alerts at once; promtool is a process each."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for key, wait in [(key, pool.submit(check, key)) for key in SITUATIONS]:
                with self.subTest(alert=key):
                    wait.result()

    def test_fires_from_the_minute_on_that_its_values_say(self):
        def check(key: str) -> None:
            for name, (_, at) in SITUATIONS[key].faults.items():
                self.assertEqual(firing(key)[FAULT + name], [(at, whole(key))], name)

        self.each(check)

    def test_tells_who_since_when_and_why(self):
        def tell(key: str) -> list[dict]:
            situation = SITUATIONS[key]
            return promtool.told(BY_KEY[key], series(situation.fault, situation.at + 10), situation.at + 5)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            told = dict(zip(SITUATIONS, pool.map(tell, SITUATIONS)))
        if os.environ.get("MIRRORFLEET_BLESS"):
            GOLDEN.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
        self.assertEqual(told, json.loads(GOLDEN.read_text()))
        for key, alerts in told.items():
            with self.subTest(alert=key):
                (one,) = alerts
                text = one["annotations"]["summary"] + one["annotations"]["description"]
                for label in set(labels_of(BY_KEY[key])):
                    self.assertIn(one["labels"][label], text)
                for wrong in ("<no value>", "<error", "%!", "{{", "${"):
                    self.assertNotIn(wrong, json.dumps(one))

    def test_stays_silent_beside_a_near_miss(self):
        def check(key: str) -> None:
            for name in SITUATIONS[key].near:
                self.assertEqual(firing(key)[name], [], name)

        self.each(check)

    def test_a_restart_of_the_exporter_neither_ends_nor_delays_it(self):
        def check(key: str) -> None:
            situation, found = SITUATIONS[key], firing(key)[RESTARTED]
            if key == "controllerWithoutLeader":
                self.assertEqual(found, [])
            elif situation.reads_rates:
                # What nobody counts cannot be told: a rate begins anew, but the alert that fires does not flap.
                self.assertLessEqual(len(found), 1, found)
            else:
                for name, (_, at) in situation.faults.items():
                    self.assertEqual(firing(key)[RESTARTED + name], [(at, whole(key))], name)

        self.each(check)

    def test_a_missing_exporter_ends_it_once_and_wakes_nothing(self):
        def check(key: str) -> None:
            situation, found = SITUATIONS[key], firing(key)[GONE]
            if key == "controllerWithoutLeader":
                return self.assertEqual(found, [(25, whole(key))])
            gone = situation.at + 15
            self.assertEqual(len(found), 1, found)
            self.assertEqual(found[0][0], situation.at)
            self.assertLessEqual(gone, found[0][1])
            self.assertLessEqual(found[0][1], gone + (HELD if not situation.reads_rates else 20))
            self.assertEqual(firing(key)[UNSEEN], [], UNSEEN)

        self.each(check)

    def test_a_region_that_never_succeeded_is_told_as_such(self):
        fault, at = SITUATIONS["nothingSynced"].also["never, and its runs fail"]
        (told,) = promtool.told(BY_KEY["nothingSynced"], series(fault, at + 10), at + 5)
        text = told["annotations"]["description"]
        self.assertRegex(text, r"^No run for region eu of Mirror apt/debian has ever succeeded; it is there since 1970-01-01 00:10:00 .*ended with UpstreamUnreachable\.")

    def test_runs_that_do_not_start_are_nothing_synced_too(self):
        overdue = succeeded(always(600), always(LATE * 60))
        missed = succeeded(always(600), always(2 * DAY), Told("mirrorfleet_sync_missed_runs_total", MIRROR, step(LATE - 100, 0, 1)))
        for found in self.firing_blocks("nothingSynced", [overdue, missed], LATE + 100):
            self.assertEqual(len(found), 1)

    def test_the_forecast_sees_a_volume_that_will_be_full(self):
        (found,) = self.firing_blocks("storageFilling", [storage(lambda minute: 60e9 + minute * 1e7)], 1600)
        self.assertEqual(len(found), 1)

    def firing_blocks(self, key: str, told: list[list[Told]], minutes: int) -> list[list[tuple[int, int]]]:
        found = promtool.firing_minutes(BY_KEY[key], [series(one, minutes) for one in told], minutes)
        return [blocks(one) for one in found]


def labels_of(alert: Alert) -> list[str]:
    return re.findall(r"\$labels\.(\w+)", alert.summary)
