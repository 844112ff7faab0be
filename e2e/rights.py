"""What an account really did by the API server's audit log, beside what its roles let it do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import product

#: Granted, and in most runs not to be seen in the audit log; each with the reason why it is granted all the same.
EXCUSED: dict[tuple[str, str, str], str] = {
    ("", "persistentvolumeclaims", "get"): "whose it is, where the name is taken: only if somebody was faster than the watch",
    ("batch", "jobs", "get"): "the same",
}


@dataclass(frozen=True, order=True)
class Right:
    group: str
    #: With its subresource: `pods/eviction`.
    resource: str
    verb: str

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f".{self.group}" if self.group else "")


def granted(roles: Iterable[dict]) -> set[Right]:
    """By Roles and ClusterRoles, as the API server has them."""
    rules = [rule for role in roles for rule in role["rules"] or []]
    return {Right(*each) for rule in rules for each in product(rule["apiGroups"], rule["resources"], rule["verbs"])}


def of(event: dict) -> Right | None:
    """The right that a request needs; none for what is no resource, which is discovery."""
    reference = event.get("objectRef", {})
    if not reference.get("resource"):
        return None
    name = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return Right(reference.get("apiGroup", ""), name, event["verb"])


def is_refused(event: dict) -> bool:
    return event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid"


def declared(upstream_writes: Iterable[dict]) -> set[tuple[str, str]]:
    """Namespaces and names of the ConfigMaps that Upstreams named, from what was written of them."""
    found = set()
    for event in upstream_writes:
        written = event.get("requestObject")
        spec = written.get("spec", {}) if isinstance(written, dict) else {}
        bundle = spec.get("access", {}).get("caBundleRef", {})
        if bundle and bundle.get("kind", "ConfigMap") == "ConfigMap":
            found.add((event["objectRef"]["namespace"], bundle["name"]))
    return found


def refusals(events: Iterable[dict], without_roles: Iterable[tuple[float, float]] = ()) -> list[str]:
    """What was asked for and not granted; not while there were no roles at all, by Unix time."""

    def had_roles(event: dict) -> bool:
        return not any(start <= datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp() <= end for start, end in without_roles)

    return sorted({f"asked for and refused: {of(event)}" for event in events if of(event) and is_refused(event) and had_roles(event)})


def of_config_maps(events: Iterable[dict], named: set[tuple[str, str]]) -> list[str]:
    """ConfigMaps that nobody declared, and other ways of reading them than by name."""
    found = set()
    for event in events:
        right, reference = of(event), event.get("objectRef", {})
        if not right or right.resource != "configmaps":
            continue
        where = (reference.get("namespace", ""), reference.get("name", ""))
        if right.verb != "get" or where not in named:
            found.add(f"{right} {'/'.join(where)}, which no Upstream names")
    return sorted(found)


def unused(events: Iterable[dict], rights: set[Right], excused: dict[tuple[str, str, str], str]) -> list[str]:
    """What is granted for nothing, and excuses for what is not granted. What is excused may be used: some of it is luck."""
    used = {right for event in events if (right := of(event)) and not is_refused(event)}
    excuses = {Right(*each) for each in excused}
    return [
        *(f"granted and never used: {right}" for right in sorted(rights - used - excuses)),
        *(f"used by another role: {right}" for right in sorted(used - rights)),
        *(f"excused though it is not granted: {right}" for right in sorted(excuses - rights)),
    ]
