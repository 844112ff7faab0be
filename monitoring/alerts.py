"""The alerts. Each is a symptom that a person must act upon; what an alert watches is in docs/metrics.md."""

from __future__ import annotations

from dataclasses import dataclass, field

from .promql import ENDPOINT, HOLD, MIRROR, REGION, UNIT, UPSTREAM, condition, grown, held, summed
from .reference import refusals

#: Bases of links, filled in by the chart.
RUNBOOKS = "https://github.com/mirrorfleet/mirrorfleet/blob/main/docs/runbooks.md"
DASHBOARDS = ""


@dataclass(frozen=True)
class Threshold:
    """A number in the chart's values."""

    value: float
    lowest: float = 0


@dataclass(frozen=True)
class Alert:
    #: Name in the chart's values; with `Mirrorfleet` before it the alert's own.
    key: str
    #: What the chart's values say of it.
    comment: str
    severity: str
    lasts: str
    #: `${name}` stands for a threshold.
    expression: str
    summary: str
    description: str
    #: Which dashboard shows it: its uid and its variables, each from a label.
    dashboard: str
    variables: tuple[str, ...] = MIRROR
    thresholds: dict[str, Threshold] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"Mirrorfleet{self.key[0].upper()}{self.key[1:]}"


SINCE = "{{ $value | humanizeTimestamp }}"
WHERE = "{{ $labels.namespace }}/{{ $labels.mirror }}"
REGION_WHERE = f"region {{{{ $labels.region }}}} of Mirror {WHERE}"


def asked(query: str, labels: tuple[str, ...]) -> str:
    """What begins a block about the result of a query, if there is one; `query` has a `%q` for each label."""
    names = "".join(f" $labels.{label}" for label in labels)
    text = '"' + query.replace('"', '\\"') + '"'
    question = f"printf {text}{names} | query" if labels else f"query {text}"
    return f"{{{{ with {question} }}}}"


def named(labels: tuple[str, ...]) -> str:
    return ",".join(f"{label}=%q" for label in labels)


def since(selector: str, *labels: str) -> str:
    """When it was last otherwise, asked when the alert is told."""
    query = f"max(max_over_time(timestamp({selector})[24h:1m]))"
    return f"{asked(query, labels)}since {{{{ . | first | value | humanizeTimestamp }}}}{{{{ else }}}}since it was made, or for more than a day{{{{ end }}}}"


def since_false(kind: str, of: str = "mirror") -> str:
    """Since when a condition is false, and its reason, as the controller (or `mirrorfleet local`) tells both."""
    labels = ("namespace", of)
    where = f'{named(labels)},type="{kind}"'
    begin = f"max(last_over_time(mirrorfleet_{of}_condition_last_transition_timestamp_seconds{{{where}}}[{HOLD}]))"
    reason = f'mirrorfleet_{of}_condition{{{where},status="False",reason!=""}} == 1'
    return (
        f"{asked(begin, labels)}since {{{{ . | first | value | humanizeTimestamp }}}}{{{{ else }}}}at present{{{{ end }}}}"
        f'{asked(reason, labels)} ({{{{ . | first | label "reason" }}}}){{{{ end }}}}'
    )


def failures(match: str, labels: tuple[str, ...], none: str) -> str:
    """The reasons of the failed runs of six hours, by region."""
    selector = f'{{{named(labels)},result="Failed"{match}}}'.replace('"', '\\"')
    values = " ".join(f"$labels.{label}" for label in labels)
    query = f"round(sum by (region, reason) ({grown('mirrorfleet_sync_runs_total%s', '6h')})) > 0"
    return (
        f'{{{{ $runs := printf "{selector}" {values} }}}}'
        f'{{{{ with query (printf "{query}" $runs $runs $runs) }}}}'
        "Failed runs of the last six hours:{{ range . }} {{ .Labels.region }}: {{ .Labels.reason }} ({{ .Value | humanize }});{{ end }}"
        f"{{{{ else }}}}{none}{{{{ end }}}}"
    )


#: How the last run of the region ended, also before the controller that tells it began.
LAST_RUN = (
    f"{asked(f'max by (reason) (mirrorfleet_sync_last_run_info{{{named(REGION)}}})', REGION)}"
    ' The last run ended with {{ . | first | label "reason" }}.{{ end }}'
)
REFUSED = f',reason=~"{"|".join(refusals())}"'
SUPERSEDED = held("mirrorfleet_region_superseded_timestamp_seconds", REGION)
#: Of a region that never succeeded, since when it could have.
SUCCEEDED = (
    f"(\n{held('mirrorfleet_region_last_success_timestamp_seconds', REGION)}\n"
    f"or\n{held('mirrorfleet_region_created_timestamp_seconds', REGION)}\n)"
)
#: A first copy may take as long as it takes; until it has ended, the run that was due when it began looks overdue.
FIRST_RUN = 'mirrorfleet_mirror_condition{type="Ready",status="False",reason="FirstSyncRunning"}'
LATE = (
    f"{SUCCEEDED}\n< on (namespace, mirror) group_left ()\n"
    f"(time() - ${{intervals}} * {held('mirrorfleet_sync_interval_seconds', MIRROR)})"
)
USED, CAPACITY = "mirrorfleet_storage_used_bytes", "mirrorfleet_storage_capacity_bytes"
RATIO = f"{held(USED, REGION)}\n/\n{held(CAPACITY, REGION)}"
FORECAST = f"predict_linear((max by (namespace, mirror, region) ({USED}))[24h:10m], ${{forecastHours}} * 3600)"
ERRORS, ANSWERS = 'mirrorfleet_http_requests_total{code="5xx",mirror!=""}', 'mirrorfleet_http_requests_total{mirror!=""}'


ALERTS = [
    Alert(
        "regionStale",
        "A region is behind its authority for longer than its Mirror's objective.",
        "warning", "15m",
        f"{SUPERSEDED} > 0\nand\n{SUPERSEDED}\n< time() - {held('mirrorfleet_region_freshness_objective_seconds', REGION)}",
        f"{REGION_WHERE} is stale",
        f"The authority has had something newer than {REGION_WHERE} serves since {SINCE}, longer than freshness.objective allows."
        + LAST_RUN + " " + failures("", REGION, "No run failed in the last six hours."),
        "mirrorfleet-mirror", REGION,
    ),
    Alert(
        "regionLeftOut",
        "Clients are not led to a region: it does not serve what the others do, or is behind for longer than freshness.withdrawAfter.",
        "warning", "1h",
        f"{held('mirrorfleet_region_withdrawn_timestamp_seconds', REGION)} > 0",
        f"{REGION_WHERE} is left out",
        f"No list of regions leads clients to {REGION_WHERE} since {SINCE}: it does not serve what the others do, or is too far behind."
        + LAST_RUN + " " + failures("", REGION, "No run failed in the last six hours."),
        "mirrorfleet-mirror", REGION,
    ),
    Alert(
        "clockWrong",
        "The clock of the node of a serving pod and the controller's differ by more than five seconds.",
        "warning", "15m",
        f"{held('mirrorfleet_region_clock_skew_seconds', REGION)} != 0",
        f"The clock of {REGION_WHERE} is wrong",
        f"The clock of the node of {REGION_WHERE} is ahead of the controller's by {{{{ $value | humanizeDuration }}}} (behind it, where that is negative). "
        "Runs there judge by it what has expired. Where regions on several nodes are told of, it may be the controller's that is wrong.",
        "mirrorfleet-mirror", REGION,
    ),
    Alert(
        "canaryFailed",
        "A snapshot was found bad in the region that serves each first; no other region serves it, and nothing newer came since.",
        "warning", "0m",
        f"{held('mirrorfleet_publication_halted_timestamp_seconds', MIRROR)} > 0",
        f"The canary of Mirror {WHERE} failed",
        f"A snapshot was found bad at {SINCE} in the region that served it first (rollout.canary) of Mirror {WHERE}; no other region serves it. "
        "Clients get what was served before, until the upstream's next state is tried. The condition Reconciling says what was found.",
        "mirrorfleet-mirror", MIRROR,
    ),
    Alert(
        "indexExpires",
        "What a region serves has a Valid-Until that ends within `hours`; then apt refuses it. Silent 30 days after the end: that is an archive that has ended.",
        "critical", "15m",
        f"{held('mirrorfleet_index_valid_until_timestamp_seconds', UNIT)} < time() + ${{hours}} * 3600\n"
        f"and\n{held('mirrorfleet_index_valid_until_timestamp_seconds', UNIT)} > time() - 30 * 86400",
        f"{{{{ $labels.unit }}}} in {REGION_WHERE} expires at {SINCE}",
        f"The Valid-Until of {{{{ $labels.unit }}}}, as {REGION_WHERE} serves it, ends at {SINCE}; from then on apt refuses it. "
        + failures("", REGION, "No run failed in the last six hours: the upstream may not have renewed it."),
        "mirrorfleet-mirror", REGION, {"hours": Threshold(48)},
    ),
    Alert(
        "verificationRefused",
        "Verification refuses what the upstream offers; what was served before keeps being served.",
        "warning", "15m",
        f"{held(condition('Verified'), MIRROR)} == 1",
        f"What the upstream of Mirror {WHERE} offers is refused",
        f"Verification refuses what the upstream of Mirror {WHERE} offers, {since_false('Verified')}; the snapshot from before is served on. "
        + failures(REFUSED, MIRROR, "The condition's message says more."),
        "mirrorfleet-mirror",
    ),
    Alert(
        "nothingSynced",
        "No run for a region succeeded for `intervals` times the time between two scheduled runs (of one that never had any: since it was made), and runs fail, are missed or are overdue. Suspended Mirrors are silent.",
        "warning", "30m",
        f"(\n{LATE}\nand\n{held('mirrorfleet_sync_consecutive_failures', REGION)} > 0\n)\n"
        f"or\n(\n{LATE}\nand on (namespace, mirror)\n"
        f"(\n{held('mirrorfleet_sync_next_run_timestamp_seconds', MIRROR)} < time() - 900\n"
        f"or\n{summed('mirrorfleet_sync_missed_runs_total', MIRROR, '24h')} > 0\n)\n"
        f"unless on (namespace, mirror)\n{held(FIRST_RUN, MIRROR)} == 1\n)",
        f"Nothing was synced for {REGION_WHERE} since {SINCE}",
        f"{asked(f'max(last_over_time(mirrorfleet_region_last_success_timestamp_seconds{{{named(REGION)}}}[{HOLD}]))', REGION)}"
        f"The last run for {REGION_WHERE} that succeeded ended at {SINCE}.{{{{ else }}}}"
        f"No run for {REGION_WHERE} has ever succeeded; it is there since {SINCE}.{{{{ end }}}}"
        + LAST_RUN + " " + failures("", REGION, "No run failed in the last six hours."),
        "mirrorfleet-mirror", REGION, {"intervals": Threshold(3, 1)},
    ),
    Alert(
        "notServing",
        "No serving pod of a region of a Mirror is ready.",
        "critical", "10m",
        f"{held(condition('Serving'), MIRROR)} == 1",
        f"Mirror {WHERE} does not serve in each region",
        f"A region of Mirror {WHERE} has no serving pod that is ready, {since_false('Serving')}."
        '{{ $of := printf "{namespace=%q,mirror=%q}" $labels.namespace $labels.mirror }}'
        '{{ with query (printf "max by (region) (mirrorfleet_region_snapshot_info%s) unless max by (region) (mirrorfleet_served_snapshot_info%s)" $of $of) }}'
        " No metrics of the server in:{{ range . }} {{ .Labels.region }}{{ end }}.{{ end }} The condition's message says more.",
        "mirrorfleet-mirror",
    ),
    Alert(
        "serverErrors",
        "More than `percent` of a region's answers are errors of the server (5xx), and more than ten in ten minutes.",
        "critical", "10m",
        f"100 * sum by (namespace, mirror, region) (rate({ERRORS}[10m]))\n/\nsum by (namespace, mirror, region) (rate({ANSWERS}[10m]))\n> ${{percent}}\n"
        f"and\nsum by (namespace, mirror, region) (increase({ERRORS}[10m])) > 10",
        f"{REGION_WHERE} answers with errors",
        f"{{{{ $value | humanize }}}} % of the answers of {REGION_WHERE} were errors of the server (5xx) over the last ten minutes.",
        "mirrorfleet-mirror", REGION, {"percent": Threshold(5)},
    ),
    Alert(
        "storageFilling",
        "A region's volume is more than `percent` full; or more than `forecastPercent`, and full in `forecastHours` if it grows as it did for a day.",
        "warning", "30m",
        f"100 * {RATIO}\n> ${{percent}}\nor\n(\n100 * {RATIO}\n> ${{forecastPercent}}\nand\n{FORECAST}\n> {held(CAPACITY, REGION)}\n)",
        f"The volume of {REGION_WHERE} fills up",
        f"The volume of {REGION_WHERE} is {{{{ $value | humanize }}}} % full. When it is full, runs fail with StorageFull and the snapshot from before is served on.",
        "mirrorfleet-mirror", REGION, {"percent": Threshold(90), "forecastPercent": Threshold(70), "forecastHours": Threshold(96, 1)},
    ),
    Alert(
        "storageFailed",
        "A Mirror's volume is missing, full, read-only or damaged.",
        "critical", "15m",
        f"{held(condition('StorageReady'), MIRROR)} == 1",
        f"The storage of Mirror {WHERE} is not well",
        f"A volume of Mirror {WHERE} is missing, full, read-only or damaged, {since_false('StorageReady')}. "
        + failures(',reason=~"Stor.*"', MIRROR, "The condition's message says more; what is fetched on demand is not kept where the volume is full."),
        "mirrorfleet-mirror",
    ),
    Alert(
        "storeDamaged",
        "Stored files of a region are damaged, and no sync has mended them.",
        "warning", "6h",
        f"{held('mirrorfleet_damaged_blobs', REGION)} > 0",
        f"Stored files of {REGION_WHERE} are damaged",
        f"{{{{ $value | humanize }}}} stored files of {REGION_WHERE} are damaged, "
        + since("mirrorfleet_damaged_blobs{namespace=%q,mirror=%q,region=%q} == 0", *REGION)
        + "; clients get errors for them until a sync fetches them again.",
        "mirrorfleet-mirror", REGION,
    ),
    Alert(
        "upstreamContradicts",
        "An upstream contradicts itself: two contents with one date, or an older state than before.",
        "critical", "0m",
        f"{held(condition('Consistent', of='upstream'), UPSTREAM)} == 1",
        "Upstream {{ $labels.namespace }}/{{ $labels.upstream }} contradicts itself",
        f"A run found that Upstream {{{{ $labels.namespace }}}}/{{{{ $labels.upstream }}}} contradicts itself, {since_false('Consistent', 'upstream')}; "
        "nothing of that is published. The condition Consistent says what was met.",
        "mirrorfleet-fleet", ("namespace",),
    ),
    Alert(
        "upstreamUnreachable",
        "The authority of an Upstream does not answer.",
        "warning", "1h",
        f"{held(condition('Reachable', of='upstream'), UPSTREAM)} == 1",
        "The authority of Upstream {{ $labels.namespace }}/{{ $labels.upstream }} does not answer",
        "The authority of Upstream {{ $labels.namespace }}/{{ $labels.upstream }} does not answer, "
        f"{since_false('Reachable', 'upstream')}; how fresh its Mirrors are cannot be told. The condition's message says more.",
        "mirrorfleet-fleet", ("namespace",),
    ),
    Alert(
        "registryUpstreamBlocked",
        "The upstream of an npm registry fails, and is left alone again and again: what is not kept cannot be had.",
        "warning", "30m",
        f"{held('mirrorfleet_registry_upstream_blocked_until_timestamp_seconds', REGION)} > 0",
        f"The upstream of the registry in {REGION_WHERE} fails",
        f"The upstream registry fails for {REGION_WHERE} and is left alone until {SINCE}, as several times before. What is kept is served, however old; "
        "what is not gets an error. The log of the container `fill` says why.",
        "mirrorfleet-mirror", REGION,
    ),
    Alert(
        "endpointUseless",
        "An endpoint of an Upstream does not answer, or has been behind the authority for `hours`.",
        "warning", "6h",
        f"{held('mirrorfleet_upstream_endpoint_reachable', ENDPOINT)} == 0\nor\n"
        f"({held('mirrorfleet_upstream_endpoint_superseded_timestamp_seconds', ENDPOINT)} != 0) < time() - ${{hours}} * 3600",
        "Endpoint {{ $labels.endpoint }} of Upstream {{ $labels.namespace }}/{{ $labels.upstream }} is of no use",
        "Endpoint {{ $labels.endpoint }} of Upstream {{ $labels.namespace }}/{{ $labels.upstream }} does not answer, or has something older than the authority for too long; "
        "runs ask others, or the authority itself. What the Upstream's status.endpoints says of it tells which.",
        "mirrorfleet-fleet", ("namespace",), {"hours": Threshold(48)},
    ),
    Alert(
        "keyExpires",
        "Keys that signed what Mirrors have of an Upstream expire within `days`, and too few are left then.",
        "warning", "1h",
        f"{held('mirrorfleet_upstream_key_expiry_timestamp_seconds', UPSTREAM)} < time() + ${{days}} * 86400",
        f"Keys of Upstream {{{{ $labels.namespace }}}}/{{{{ $labels.upstream }}}} expire at {SINCE}",
        f"Of the keys that signed what Mirrors have of Upstream {{{{ $labels.namespace }}}}/{{{{ $labels.upstream }}}} fewer than "
        f"trust.minGoodSignatures are left from {SINCE} on, as its keyring has them; then nothing new is believed.",
        "mirrorfleet-fleet", ("namespace",), {"days": Threshold(30)},
    ),
    Alert(
        "controllerWithoutLeader",
        "No controller leads, or none is scraped: nothing is synced, and all other alerts of the fleet are blind.",
        "critical", "5m",
        "absent(mirrorfleet_controller_leader == 1)",
        "No mirrorfleet controller leads",
        f"No controller holds the Lease, or none is scraped, {since('mirrorfleet_controller_leader == 1')}: no run starts and no status is told. What is served is served on.",
        "mirrorfleet-operator", (),
    ),
    Alert(
        "reconcileFailing",
        "More than `errors` reconciliations of a kind failed for one reason in 15 minutes.",
        "warning", "15m",
        f"{summed('mirrorfleet_reconcile_errors_total', ('kind', 'reason'), '15m')} > ${{errors}}",
        "Reconciliations of kind {{ $labels.kind }} fail: {{ $labels.reason }}",
        "{{ $value | humanize }} reconciliations of kind {{ $labels.kind }} failed with {{ $labels.reason }} in the last 15 minutes; the controller's log names the objects.",
        "mirrorfleet-operator", (), {"errors": Threshold(10, 1)},
    ),
]  # fmt: skip
