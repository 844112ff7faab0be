"""The dashboards: Fleet for all Mirrors, Mirror for one, Operator for the controller."""

from __future__ import annotations

from .grafana import BAD, BLUE, GREEN, GREY, INTERVAL, ORANGE, PINK, Dashboard, Panel, Query, Row, of

REGION = "namespace, mirror, region"
WHERE = "{{namespace}}/{{mirror}} {{region}}"
SUPERSEDED = f"max by ({REGION}) ({of('mirrorfleet_region_superseded_timestamp_seconds')})"


def lag(superseded: str) -> str:
    """For how long, by since when; 0 where it is current."""
    return f"(time() - {superseded}) * ({superseded} > bool 0)"


LAG = lag(SUPERSEDED)
USED = f"max by ({REGION}) ({of('mirrorfleet_storage_used_bytes')})"
CAPACITY = f"max by ({REGION}) ({of('mirrorfleet_storage_capacity_bytes')})"
VALID_UNTIL = f"max by ({REGION}, unit) ({of('mirrorfleet_index_valid_until_timestamp_seconds')})"
OBJECTIVE = f"max by ({REGION}) ({of('mirrorfleet_region_freshness_objective_seconds')})"
#: Above 1 a region is stale.
OF_OBJECTIVE = f"{LAG} / {OBJECTIVE}"
#: With the reason as a label.
LAST_RUN = (
    f"max by ({REGION}, reason) ({of('mirrorfleet_sync_last_run_info')} * on ({REGION}) group_left () "
    f"max by ({REGION}) ({of('mirrorfleet_sync_last_run_finished_timestamp_seconds')}))"
)
KEY_EXPIRY = (
    f"max by (namespace, mirror, upstream) ({of('mirrorfleet_mirror_info')} * on (namespace, upstream) group_left () "
    f"max by (namespace, upstream) ({of('mirrorfleet_upstream_key_expiry_timestamp_seconds')}))"
)
PREPARING = f"max by (mirror) ({of('mirrorfleet_publication_preparing_timestamp_seconds')})"
KINDS = {"Mirror": BLUE, "Upstream": PINK, "Pod": GREEN}
CODES = {"1xx": GREY, "2xx": BLUE, "3xx": GREEN, "4xx": PINK, "5xx": ORANGE}
RESULTS = {"Published": BLUE, "Prepared": BLUE, "Unchanged": GREY, "Failed": BAD}


def rate(metric: str, by: str, *matchers: str) -> str:
    return f"sum by ({by}) (rate({of(metric, *matchers)}[{INTERVAL}]))"


def increase(metric: str, by: str, *matchers: str) -> str:
    return f"sum by ({by}) (increase({of(metric, *matchers)}[{INTERVAL}]))"


def fetched(function: str, over: str) -> str:
    """What runs fetched, and what was fetched for clients: a label of its own keeps both where they have all others in common."""
    runs, fills = (f"{function}({of(name)}[{over}])" for name in ("mirrorfleet_sync_fetched_bytes_total", "mirrorfleet_fill_fetched_bytes_total"))
    return f'sum({runs} or label_replace({fills}, "for", "clients", "", ""))'


def quantile(share: float, histogram: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({of(histogram + '_bucket')}[{INTERVAL}])))"


def conditions(kinds: str, status: str = "True") -> str:
    selector = of("mirrorfleet_mirror_condition", f'type=~"{kinds}"', f'status="{status}"')
    return f"sum by (type) (max by (namespace, mirror, type) ({selector}))"


def told_conditions(status: str = "") -> str:
    """Present conditions with their reasons; the value is since when each is so, in milliseconds."""
    matchers = [f'status="{status}"'] if status else []
    since = f"max by (namespace, mirror, type) ({of('mirrorfleet_mirror_condition_last_transition_timestamp_seconds')})"
    present = f"({of('mirrorfleet_mirror_condition', *matchers)} == 1)"
    return f"max by (namespace, mirror, type, status, reason) ({present} * on (namespace, mirror, type) group_left () {since}) * 1000"


def of_controllers(process: str) -> str:
    """What metrics of processes say of those that decide."""
    role = of("mirrorfleet_build_info", 'role=~"controller|local"')
    return f"max by (instance) ({process} * on (job, instance) group_left () {role})"


def endpoints(what: str) -> str:
    return f"max by (namespace, upstream, endpoint) ({of(f'mirrorfleet_upstream_endpoint_{what}')})"


def upstreams(kind: str, status: str) -> str:
    selector = of("mirrorfleet_upstream_condition", f'type="{kind}"', f'status="{status}"')
    return f"sum(max by (namespace, upstream) ({selector}))"


NOT_ASKED, ASKED = (rate("mirrorfleet_registry_answers_total", "region", f'source=~"{sources}"') for sources in ("ready|kept", "fetched"))


LAG_TABLE = Panel(
    "table", "Regions, the most behind first",
    "Each region: when its last run ended and how, since when it is behind its authority, how far, and what part of its Mirror's objective that is: above 100 % it is stale. A region that is current has a lag of 0.",
    (
        Query(f"{LAST_RUN} * 1000"),
        Query(f"{SUPERSEDED} * 1000 > 0"),
        Query(LAG),
        Query(OF_OBJECTIVE),
    ),
    "short", 24, 9,
    columns={
        "namespace": ("Namespace", ""), "mirror": ("Mirror", ""), "region": ("Region", ""),
        "Value #A": ("Last run", "dateTimeFromNow"), "reason": ("Its result", ""),
        "Value #B": ("Behind since", "dateTimeAsIso"), "Value #C": ("Lag", "s"), "Value #D": ("Of the objective", "percentunit"),
    },
)  # fmt: skip
LAG_MAP = Panel(
    "status-history", "Lag of each region, against its objective",
    "How far each region is behind its authority, as a part of its Mirror's freshness.objective, over time: the darker, the further, and darkest from twice the objective on. Light is current, a gap is unknown.",
    (Query(OF_OBJECTIVE, WHERE),), "percentunit", 24, 9, most=2,
)  # fmt: skip
ANSWERS = Panel(
    "timeseries", "Answers by class of status", "Answered requests a second. 5xx are errors of the server.",
    (Query(rate("mirrorfleet_http_requests_total", "code"), "{{code}}"),), "reqps", colours=CODES, stacked=True,
)  # fmt: skip
RUNS = Panel(
    "timeseries", "Runs by result", "Sync runs that ended.",
    (Query(increase("mirrorfleet_sync_runs_total", "result"), "{{result}}"),), "short", colours=RESULTS, stacked=True,
)  # fmt: skip
FAILURES = Panel(
    "timeseries", "Runs by reason", "Sync runs that ended, by reason, whether they failed, were refused or brought something; docs/reasons.md explains each. Empty: no run has ended since the first scrape that knew the Mirror.",
    (Query(f"{increase('mirrorfleet_sync_runs_total', 'reason')} > 0", "{{reason}}"),), "short", colours={"Published": BLUE, "Prepared": BLUE, "Unchanged": GREY}, stacked=True, about_faults=True,
)  # fmt: skip
DAYS_TO_FULL = Panel(
    "timeseries", "Days to a full volume", "At the growth of the last day; 365 stands for more, or no growth.",
    (Query(f"clamp_max(({CAPACITY} - {USED}) / clamp_min(max by ({REGION}) (deriv({of('mirrorfleet_storage_used_bytes')}[1d])) * 86400, 1), 365)", WHERE),), "d",
)  # fmt: skip

KEYS = Panel(
    "table", "Keys that expire, the first first",
    "From when on too few are left of the keys that signed what Mirrors have; then nothing new is believed. Without a row: never, or nothing was signed.",
    (Query(f"{KEY_EXPIRY} * 1000"), Query(f"{KEY_EXPIRY} - time()")), "short", 12, 7,
    columns={"namespace": ("Namespace", ""), "mirror": ("Mirror", ""), "upstream": ("Upstream", ""), "Value #A": ("Expire", "dateTimeAsIso"), "Value #B": ("Left", "dtdurations")}, ascending=True,
)  # fmt: skip

FLEET = Dashboard(
    "fleet", "mirrorfleet / Fleet", "All Mirrors: which region is behind, what is served, what it saves.", ("namespace", "mirror", "region"),
    (
        Row("Now", (
            Panel("stat", "Mirrors by what is true of them", "How many Mirrors are fresh, serve in each region, were verified, and have their volumes.", (Query(conditions("Fresh|Serving|Verified|StorageReady"), "{{type}}"),), "none", 9, 4),
            Panel("stat", "Mirrors of which it is false", "The same, counted where it is false.", (Query(conditions("Fresh|Serving|Verified|StorageReady", "False"), "{{type}}"),), "none", 9, 4, bad_from=1),
            Panel("stat", "Regions behind", "Regions that serve something older than their authority has, and those of them that do so for longer than their objective.", (
                Query(f"sum({SUPERSEDED} > bool 0)", "behind"), Query(f"sum({OF_OBJECTIVE} > bool 1)", "stale"),
            ), "none", 6, 4, bad_from=1),
            LAG_TABLE, LAG_MAP,
            Panel("table", "What is not well, and since when", "Conditions of Mirrors that are false, with their reasons (docs/reasons.md explains each). Empty: all is well.", (
                Query(told_conditions("False")),
            ), "dateTimeAsIso", 24, 7, columns={
                "namespace": ("Namespace", ""), "mirror": ("Mirror", ""), "type": ("Condition", ""), "reason": ("Reason", ""), "Value": ("Since", "dateTimeAsIso"),
            }),
        )),
        Row("Traffic", (
            ANSWERS,
            Panel("timeseries", "Requests by region", "Answered requests a second.", (Query(rate("mirrorfleet_http_requests_total", REGION), WHERE),), "reqps"),
            Panel("timeseries", "Served and fetched", "Bytes a second that clients got, and that finished runs, and requests for what was not there yet, fetched from upstreams.", (
                Query(f"sum(rate({of('mirrorfleet_http_response_bytes_total')}[{INTERVAL}]))", "served"),
                Query(fetched("rate", INTERVAL), "fetched"),
            ), "Bps", 12, colours={"served": BLUE, "fetched": PINK}),
            Panel("stat", "In the time shown", "Bytes that clients got, and that were fetched for them.", (
                Query(f"sum(increase({of('mirrorfleet_http_response_bytes_total')}[$__range]))", "served"),
                Query(fetched("increase", "$__range"), "fetched"),
            ), "bytes", 6),
            Panel("stat", "Served for each byte fetched", "How often what was fetched once was served, in the time shown: what the mirror saves its upstream and the line.", (
                Query(f"sum(increase({of('mirrorfleet_http_response_bytes_total')}[$__range])) / clamp_min({fetched('increase', '$__range')}, 1)", "times"),
            ), "short", 6),
        )),
        Row("Runs and storage", (
            RUNS, FAILURES,
            Panel("timeseries", "Volumes, how full", "Part of each region's volume that is in use.", (Query(f"{USED} / {CAPACITY}", WHERE),), "percentunit"),
            DAYS_TO_FULL,
        )),
        Row("Upstreams", (
            Panel("stat", "Upstreams that are well", "Authorities that answer, and upstreams that do not contradict themselves.", (
                Query(upstreams("Reachable", "True"), "Reachable"), Query(upstreams("Consistent", "True"), "Consistent"),
            ), "none", 8, 6),
            Panel("stat", "Upstreams that are not", "Authorities that do not answer, and upstreams that contradict themselves.", (
                Query(upstreams("Reachable", "False"), "Not reachable"), Query(upstreams("Consistent", "False"), "Not consistent"),
            ), "none", 8, 6, bad_from=1),
            Panel("table", "Age of the newest revision", "What each upstream gives as the date of its newest revision.", (
                Query(f"max by (namespace, upstream, unit) ({of('mirrorfleet_upstream_revision_timestamp_seconds')}) * 1000"),
            ), "dateTimeFromNow", 8, 6, columns={"namespace": ("Namespace", ""), "upstream": ("Upstream", ""), "unit": ("Unit", ""), "Value": ("Date", "dateTimeFromNow")}),
            KEYS,
            Panel("table", "Endpoints", "Whether each endpoint answers, the date of the newest that it has, and for how long the authority has had something newer; 0 while it has not. Without a row: nobody can ask it, or the authority is the only one.", (
                Query(endpoints("reachable")), Query(f"{endpoints('revision_timestamp_seconds')} * 1000"), Query(lag(endpoints("superseded_timestamp_seconds"))),
            ), "short", 24, 7, columns={
                "namespace": ("Namespace", ""), "upstream": ("Upstream", ""), "endpoint": ("Endpoint", ""),
                "Value #A": ("Answers", "none"), "Value #B": ("Date", "dateTimeFromNow"), "Value #C": ("Behind", "s"),
            }),
        )),
    ),
)  # fmt: skip

MIRROR = Dashboard(
    "mirror", "mirrorfleet / Mirror", "One Mirror: its regions side by side.", ("namespace", "mirror", "region"),
    (
        Row("Freshness", (
            LAG_TABLE,
            Panel("timeseries", "Lag", "How far each region is behind its authority; 0 while it is current.", (Query(LAG, WHERE),), "s"),
            Panel("state-timeline", "Snapshots served", "Which snapshot each region serves, on a time line.", (
                Query(f"max by ({REGION}, snapshot) ({of('mirrorfleet_region_snapshot_info')})", "{{region}}: {{snapshot}}"),
            ), "none"),
            Panel("table", "Valid-Until", "Until when the upstream vouches for what is served; later apt refuses it.", (
                Query(f"{VALID_UNTIL} * 1000"), Query(f"{VALID_UNTIL} - time()"),
            ), "short", 12, 7, columns={"mirror": ("Mirror", ""), "region": ("Region", ""), "unit": ("Unit", ""), "Value #A": ("Ends", "dateTimeAsIso"), "Value #B": ("Left", "dtdurations")}, ascending=True),
            KEYS,
            Panel("table", "Conditions", "What is said of the Mirror, why, and since when it is so.", (
                Query(told_conditions()),
            ), "dateTimeAsIso", 24, 8, columns={
                "mirror": ("Mirror", ""), "type": ("Condition", ""), "status": ("Status", ""), "reason": ("Reason", ""), "Value": ("Since", "dateTimeAsIso"),
            }),
        )),
        Row("Runs", (
            RUNS, FAILURES,
            Panel("timeseries", "Duration of runs", "How long the last run that ended took, and nine of ten of all that the controller has seen.", (
                Query(f"max by (region) ({of('mirrorfleet_sync_last_run_duration_seconds')})", "{{region}} last"),
                Query(f"histogram_quantile(0.9, sum by (region, le) ({of('mirrorfleet_sync_duration_seconds_bucket')}))", "{{region}} 9 of 10"),
            ), "s"),
            Panel("timeseries", "Failed runs in a row", "Runs since the last that succeeded; 0 while all is well.", (
                Query(f"max by (region) ({of('mirrorfleet_sync_consecutive_failures')})", "{{region}}"),
            ), "short", about_faults=True),
            Panel("timeseries", "Fetched by runs", "Bytes that finished runs fetched: what each publication changed.", (
                Query(increase("mirrorfleet_sync_fetched_bytes_total", "region"), "{{region}}"),
            ), "bytes"),
            Panel("timeseries", "Files fetched by runs", "Files that finished runs fetched.", (
                Query(increase("mirrorfleet_sync_fetched_files_total", "region"), "{{region}}"),
            ), "short"),
            Panel("timeseries", "The run under way", "Bytes that it means to fetch as far as it knows, and a second what it receives; only while a run lasts.", (
                Query(f"sum by (region) ({of('mirrorfleet_sync_planned_bytes')})", "{{region}} planned"),
                Query(rate("mirrorfleet_sync_received_bytes_total", "region"), "{{region}} received a second"),
            ), "bytes"),
            Panel("stat", "Next run", "When the next run is due.", (
                Query(f"max by (mirror) ({of('mirrorfleet_sync_next_run_timestamp_seconds')}) * 1000", "{{mirror}}"),
            ), "dateTimeFromNow", 6, 5),
            Panel("stat", "Interval of runs", "The longest of the next times between two scheduled runs; empty while the Mirror is suspended.", (
                Query(f"max by (mirror) ({of('mirrorfleet_sync_interval_seconds')})", "{{mirror}}"),
            ), "s", 6, 5),
            Panel("timeseries", "Runs that were missed", "Scheduled runs that did not start before the next one was due.", (
                Query(increase("mirrorfleet_sync_missed_runs_total", "mirror"), "{{mirror}}"),
            ), "short", 12, 5, about_faults=True),
        )),
        Row("Publication", (
            Panel("timeseries", "Regions that are waited for, and left out", "The next snapshot is served by none before those have it that are waited for. What is left out does not serve what the others do, and the Mirror's Service does not lead there.", (
                Query(f"max by (mirror) ({of('mirrorfleet_publication_waiting_regions')})", "{{mirror}} waited for"),
                Query(f"sum by (mirror) (max by (mirror, region) ({of('mirrorfleet_region_withdrawn_timestamp_seconds')}) > bool 0)", "{{mirror}} left out"),
            ), "short"),
            Panel("timeseries", "Prepared and not served yet", "For how long regions have been copying the next snapshot; 0 while there is none.", (
                Query(f"(time() - {PREPARING}) * ({PREPARING} > bool 0)", "{{mirror}}"),
            ), "s"),
            Panel("stat", "Decision", "The number of the newest decision what regions are to serve: it grows with publications, pins and ways back.", (
                Query(f"max by (mirror) ({of('mirrorfleet_publication_epoch')})", "{{mirror}}"),
            ), "none", 24, 5),
        )),
        Row("Serving", (
            ANSWERS,
            Panel("timeseries", "Time to the last byte", "From a request's head to the last byte of its answer: half and 99 of 100 are faster.", (
                Query(quantile(0.5, "mirrorfleet_http_request_duration_seconds", "region"), "{{region}} half"),
                Query(quantile(0.99, "mirrorfleet_http_request_duration_seconds", "region"), "{{region}} 99 %"),
            ), "s"),
            Panel("timeseries", "Served", "Bytes a second that clients got.", (Query(rate("mirrorfleet_http_response_bytes_total", "region"), "{{region}}"),), "Bps"),
            Panel("timeseries", "Requests in flight", "Requests that are being answered.", (Query(f"sum by (region) ({of('mirrorfleet_http_requests_in_flight')})", "{{region}}"),), "short"),
        )),
        Row("Checks of the last day", (
            Panel("timeseries", "Score", "What archweb would rank the region by, the lower the better: (hours of delay + mean duration + its deviation) / completion. Begins anew with each leader.", (
                Query(f"max by (region) ({of('mirrorfleet_region_score')})", "{{region}}"),
            ), "short"),
            Panel("timeseries", "Completion", "Which part of the checks was answered with what is served and until when that was the upstream's.", (
                Query(f"max by (region) ({of('mirrorfleet_region_check_completion_ratio')})", "{{region}}"),
            ), "percentunit"),
            Panel("timeseries", "Mean delay", "From the instant until when what is served was known to be the upstream's to the check; from three days on archweb calls a mirror out of sync.", (
                Query(f"max by (region) ({of('mirrorfleet_region_check_delay_seconds')})", "{{region}}"),
            ), "s"),
            Panel("timeseries", "Duration of answers", "Mean, and standard deviation, of how long answers to checks took.", (
                Query(f"max by (region) ({of('mirrorfleet_region_check_duration_mean_seconds')})", "{{region}} mean"),
                Query(f"max by (region) ({of('mirrorfleet_region_check_duration_stddev_seconds')})", "{{region}} deviation"),
            ), "s"),
            Panel("stat", "Checks", "How many checks of each region count.", (
                Query(f"max by (region) ({of('mirrorfleet_region_checks')})", "{{region}}"),
            ), "none", 24, 5),
        )),
        Row("Fetched on demand", (
            Panel("timeseries", "Where the bytes came from", "Requests a second for files that are fetched on demand: those that were stored already, those that were fetched first, and those that could not be had. Empty for a Mirror in mode Full.", (
                Query(rate("mirrorfleet_http_on_demand_requests_total", "source"), "{{source}}"),
            ), "reqps", colours={"stored": BLUE, "fetched": PINK, "nowhere": BAD}, stacked=True),
            Panel("timeseries", "Fetches for clients", "Fetches from the upstream a second by what came of them, and requests that waited for the fetch of another.", (
                Query(rate("mirrorfleet_fill_fetches_total", "result"), "{{result}}"),
                Query(f"sum(rate({of('mirrorfleet_fill_shared_requests_total')}[{INTERVAL}]))", "shared"),
            ), "ops", colours={"ok": BLUE, "absent": GREY, "failed": BAD, "shared": GREEN}),
            Panel("timeseries", "Stored since clients asked", "Bytes that are stored only since a client asked for them.", (
                Query(f"max by (region) ({of('mirrorfleet_fill_cached_bytes')})", "{{region}}"),
            ), "bytes"),
            Panel("timeseries", "Fetched for clients, and given up", "Bytes a second that were fetched for clients, and that were given up so that others had room.", (
                Query(rate("mirrorfleet_fill_fetched_bytes_total", "region"), "{{region}} fetched"),
                Query(rate("mirrorfleet_fill_evicted_bytes_total", "region"), "{{region}} given up"),
            ), "Bps"),
        )),
        Row("Registry", (
            Panel("timeseries", "Answers of a registry", "Answers a second by where they came from: given again at once, kept on the disk, fetched first, old because the upstream failed, and refused. Empty for a Mirror of something else.", (
                Query(rate("mirrorfleet_registry_answers_total", "source"), "{{source}}"),
            ), "reqps", colours={"ready": BLUE, "kept": GREEN, "fetched": PINK, "stale": ORANGE, "refused": GREY}, stacked=True),
            Panel("timeseries", "Saved", "Of all answers with content the share for which the upstream was not asked.", (
                Query(f"{NOT_ASKED} / ({NOT_ASKED} + {ASKED} > 0)", "{{region}}"),
            ), "percentunit"),
            Panel("timeseries", "Questions to the upstream registry", "Questions a second by what came of them, and whether it is left alone at the moment.", (
                Query(rate("mirrorfleet_registry_upstream_requests_total", "result"), "{{result}}"),
                Query(f"(max by (region) ({of('mirrorfleet_registry_upstream_blocked_until_timestamp_seconds')}) > bool 0) or {rate('mirrorfleet_registry_upstream_requests_total', 'region')} * 0", "{{region}} left alone"),
            ), "short", colours={"changed": BLUE, "unchanged": GREEN, "absent": GREY, "failed": BAD}),
            Panel("timeseries", "Kept of a registry", "Bytes of what is kept and could be fetched or made again.", (
                Query(f"max by (region) ({of('mirrorfleet_registry_cached_bytes')})", "{{region}}"),
            ), "bytes"),
            Panel("timeseries", "Given up by a registry", "Bytes a second that were given up so that others had room: what was used longest ago.", (
                Query(rate("mirrorfleet_registry_evicted_bytes_total", "region"), "{{region}}"),
            ), "Bps"),
            Panel("timeseries", "Held back", "New decisions of the guard: what is held back, would be, or was let in by a person, by rule.", (
                Query(increase("mirrorfleet_registry_decisions_total", "decision, rule"), "{{decision}} {{rule}}"),
            ), "short"),
        )),
        Row("Storage", (
            Panel("timeseries", "Volume", "Bytes in use, the size of the volume, and the use in a week at the growth of the last day.", (
                Query(USED, "{{region}} used"), Query(CAPACITY, "{{region}} size"),
                Query(f"max by ({REGION}) (predict_linear({of('mirrorfleet_storage_used_bytes')}[1d], 604800))", "{{region}} in a week"),
            ), "bytes"),
            DAYS_TO_FULL,
            Panel("stat", "Damaged files", "Stored files that are known to be damaged; the next run fetches them again.", (
                Query(f"max by (region) ({of('mirrorfleet_damaged_blobs')})", "{{region}}"),
            ), "none", 12, 5, bad_from=1),
            Panel("stat", "Published", "When the snapshot that is served was published.", (
                Query(f"max by (region) ({of('mirrorfleet_served_snapshot_published_timestamp_seconds')}) * 1000", "{{region}}"),
            ), "dateTimeFromNow", 12, 5),
        )),
    ),
)  # fmt: skip

OPERATOR = Dashboard(
    "operator", "mirrorfleet / Operator", "The controller: who leads, how fast it reconciles, what fails.", ("namespace", "mirror", "region"),
    (
        Row("Leader", (
            Panel("stat", "Leaders", "Controllers that hold the Lease: one.", (Query(f"sum({of('mirrorfleet_controller_leader')})", "leaders"),), "none", 6, 7),
            Panel("stat", "Controllers", "Controllers that are scraped, with those that stand by.", (Query(f"count({of('mirrorfleet_controller_leader')})", "controllers"),), "none", 6, 7),
            Panel("state-timeline", "Who leads", "1 while it holds the Lease.", (Query(f"max by (instance) ({of('mirrorfleet_controller_leader')})", "{{instance}}"),), "none", 12, 7),
        )),
        Row("Reconciliations", (
            Panel("timeseries", "Reconciliations", "Finished reconciliations a second, by kind of object.", (Query(rate("mirrorfleet_reconciles_total", "kind"), "{{kind}}"),), "ops", colours=KINDS),
            Panel("timeseries", "Failures by reason", "Failed reconciliations a second; 0 while none fails.", (Query(rate("mirrorfleet_reconcile_errors_total", "kind, reason"), "{{kind}}: {{reason}}"),), "ops", about_faults=True),
            Panel("timeseries", "Duration, half are faster", "Median of one reconciliation.", (Query(quantile(0.5, "mirrorfleet_reconcile_duration_seconds", "kind"), "{{kind}}"),), "s", colours=KINDS),
            Panel("timeseries", "Duration, 99 % are faster", "The slow ones: the 99th percentile.", (Query(quantile(0.99, "mirrorfleet_reconcile_duration_seconds", "kind"), "{{kind}}"),), "s", colours=KINDS),
            Panel("timeseries", "Queue", "Objects that are due and wait for room, by kind.", (Query(f"sum by (kind) ({of('mirrorfleet_queue_depth')})", "{{kind}}"),), "short", colours=KINDS),
            Panel("timeseries", "Wait in the queue, 99 % are faster", "For how long objects that were due had to wait.", (Query(quantile(0.99, "mirrorfleet_queue_wait_seconds", "kind"), "{{kind}}"),), "s", colours=KINDS),
        )),
        Row("What it asks", (
            Panel("timeseries", "API calls by verb and code", "Calls of the Kubernetes API a second, each attempt. 429 and 503 are an API server that is overloaded; error is no answer. What was not answered so is not shown.", (
                Query(f"{rate('mirrorfleet_api_requests_total', 'verb, code')} > 0", "{{verb}} {{code}}"),
            ), "reqps"),
            Panel("timeseries", "API calls, 99 % are faster", "Time to the head of the answer.", (Query(quantile(0.99, "mirrorfleet_api_request_duration_seconds", "verb"), "{{verb}}"),), "s"),
            Panel("timeseries", "Polls of serving pods", "Questions a second to serving pods for what they serve, by answer.", (
                Query(rate("mirrorfleet_pod_polls_total", "answer"), "{{answer}}"),
            ), "ops", colours={"serves": BLUE, "nothing": GREY, "unreachable": BAD}),
            Panel("timeseries", "Probes of authorities", "Questions a second to authorities for their revision, by whether it was told.", (
                Query(rate("mirrorfleet_upstream_probes_total", "result"), "{{result}}"),
            ), "ops", colours={"answered": BLUE, "failed": BAD}),
        )),
        Row("Process", (
            Panel("timeseries", "Memory", "Memory of the controllers that is in use.", (Query(of_controllers(of("process_resident_memory_bytes")), "{{instance}}"),), "bytes"),
            Panel("timeseries", "Processor time", "Processors that the controllers keep busy.", (Query(of_controllers(f"rate({of('process_cpu_seconds_total')}[{INTERVAL}])"), "{{instance}}"),), "short"),
            Panel("table", "Builds", "Which version runs, as what, and how often.", (
                Query(f"count by (version, role) ({of('mirrorfleet_build_info')})"),
            ), "short", 12, 6, columns={"version": ("Version", ""), "role": ("Role", ""), "Value": ("Processes", "short")}),
            Panel("stat", "Started", "When each controller started.", (Query(of_controllers(f"{of('process_start_time_seconds')} * 1000"), "{{instance}}"),), "dateTimeFromNow", 12, 6),
        )),
        Row("Runs that it starts", (
            RUNS, FAILURES,
        )),
    ),
)  # fmt: skip

DASHBOARDS = [FLEET, MIRROR, OPERATOR]
