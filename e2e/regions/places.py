"""Where regions are, what is known of each, and how one reaches them."""

from __future__ import annotations

from lab import wait_until
from world import follows, regions_of

#: One that fetches, one that follows it, and one that follows that.
HUB, EDGE, FAR = "region-a", "region-b", "region-c"
ALL = (HUB, EDGE, FAR)
#: A sync begins where somebody asks for it.
SYNC = {"schedule": "0 0 1 1 *", "retries": {"limit": 0, "backoff": "5s"}}


def told(fleet) -> str:
    mirror = fleet.get()
    return f"{mirror.get('status', {}).get('publication')} {regions_of(mirror)}"


def serve_the_same(fleet, timeout: float = 120) -> str:
    """The snapshot that all regions serve, offered to clients of all."""

    def same() -> str | None:
        # Of one status: the next one may tell of all that they serve something else.
        mirror = fleet.get()
        regions = regions_of(mirror)
        served = {region.get("snapshot") for region in regions}
        offered = not any("withdrawnAt" in region for region in regions)
        well = len(regions) == len(ALL) and len(served) == 1 and offered
        phase = mirror.get("status", {}).get("publication", {}).get("phase")
        return served.pop() if well and phase == "Published" else None

    return wait_until(same, timeout, "all regions to serve the same", detail=lambda: told(fleet))


def go_on(fleet, regions: tuple[str, ...] = ALL, timeout: float = 180) -> None:
    """Until clients are led to all of these, and each serves by a decision that is yet to come."""
    before = fleet.get()["status"]["publication"]["epoch"]

    def does(region: dict) -> bool:
        newer = region.get("order", {}).get("epoch", 0) > before
        return newer and region["ready"] and follows(region) and "withdrawnAt" not in region

    def did() -> bool:
        known = {region["name"]: region for region in regions_of(fleet.get())}
        return all(name in known and does(known[name]) for name in regions)

    wait_until(did, timeout, f"{', '.join(regions)} to serve what is new", detail=lambda: told(fleet))


def withdrawn(fleet) -> set[str]:
    return {region["name"] for region in regions_of(fleet.get()) if "withdrawnAt" in region}


def published(fleet) -> str:
    return fleet.get()["status"]["publication"]["snapshot"]


def serving_pod(fleet, region: str) -> dict:
    def one() -> dict | None:
        pods = fleet.pods("serving")
        return next((pod for pod in pods if pod["metadata"]["labels"]["mirrorfleet.dev/region"] == region), None)

    return wait_until(one, 120, f"the serving pod of {region}")


def sync_pods(fleet, region: str) -> list[dict]:
    """Those that have not ended."""
    pods = fleet.pods("sync")
    return [
        pod for pod in pods
        if pod["metadata"]["labels"]["mirrorfleet.dev/region"] == region and pod["status"].get("phase") in ("Pending", "Running")
    ]  # fmt: skip


def of_region(fleet, kind: str, region: str) -> dict:
    """The one object of a kind that a region has."""

    def one() -> dict | None:
        return next(iter(fleet.lab.list(kind, fleet.namespace, f"mirrorfleet.dev/region={region}")), None)

    return wait_until(one, 120, f"the {kind} of {region}")


def led_to(fleet) -> set[str]:
    """The pods to which the Service leads that is of all regions."""
    slices = fleet.lab.list("endpointslices", fleet.namespace, OF_ALL)
    endpoints = [endpoint for one in slices for endpoint in one.get("endpoints") or []]
    return {one["targetRef"]["name"] for one in endpoints if one["conditions"].get("ready", True)}


OF_ALL = "mirrorfleet.dev/mirror=debian,!mirrorfleet.dev/region"


def address(fleet, region: str | None) -> str:
    """Of a region's Service; of none: of the one that leads to all of them."""
    selector = f"mirrorfleet.dev/region={region}" if region else OF_ALL
    return fleet.lab.list("services", fleet.namespace, selector)[0]["spec"]["clusterIP"]


def list_of(fleet, region: str | None) -> str:
    """Where a region, or whichever the Service of all regions leads to, gives the list of all."""
    return f"http://{address(fleet, region)}/.mirrorfleet/mirrorlist/debian"


def can_be_listed(fleet, regions: list[dict]) -> None:
    """Addresses for lists that this machine reaches: it knows no name of the cluster's."""
    reachable = [{**region, "publicUrl": f"http://{address(fleet, region['name'])}/"} for region in regions]
    fleet.lab.merge("mirror", "debian", fleet.namespace, {"spec": {"regions": reachable}})
    wanted = [f"{region['publicUrl']}debian/" for region in reachable]

    def is_listed_by(region: str) -> bool:
        # Each pod is told for itself.
        urls = [line.partition("\t")[0] for line in fleet.curl(list_of(fleet, region)).splitlines()]
        return sorted(urls) == sorted(wanted)

    wait_until(lambda: all(is_listed_by(region["name"]) for region in regions), 120, "each region to list all", detail=lambda: told(fleet))
