"""How what is used is compared with what is granted, by made-up logs; the scenario `least-privilege` reads the real one."""

from __future__ import annotations

import unittest

import rights

ROLE = {"rules": [{"apiGroups": ["", "apps"], "resources": ["pods", "pods/eviction"], "verbs": ["get", "create"]}, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]}


def event(verb: str, resource: str, subresource: str = "", *, group: str = "", name: str = "", refused: bool = False) -> dict:
    reference = {"resource": resource, "subresource": subresource, "apiGroup": group, "namespace": "apt", "name": name}
    decision = "forbid" if refused else "allow"
    return {"verb": verb, "objectRef": reference, "annotations": {"authorization.k8s.io/decision": decision}}


def upstream(access: dict) -> dict:
    return {**event("create", "upstreams"), "requestObject": {"spec": {"access": access}}}


USED = [event(verb, "pods", sub, group=group) for verb in ("get", "create") for sub in ("", "eviction") for group in ("", "apps")]
NAMED = event("get", "configmaps", name="authority")


class Rights(unittest.TestCase):
    def compared(self, events: list[dict], excused: dict | None = None) -> list[str]:
        return rights.unused(events, rights.granted([ROLE]), excused or {})

    def test_what_is_used_and_granted_alike_is_well(self):
        discovery = {"verb": "get", "requestURI": "/apis"}
        self.assertEqual(self.compared([*USED, NAMED, discovery]), [])
        self.assertEqual(rights.refusals([*USED, NAMED, discovery]), [])

    def test_what_was_granted_for_nothing_is_told(self):
        self.assertEqual(self.compared(USED), ["granted and never used: get configmaps"])
        # A subresource and a group are rights of their own, and what was refused was not used.
        self.assertEqual(self.compared([*USED[:-1], NAMED, event("create", "pods", "eviction", group="apps", refused=True)]), ["granted and never used: create pods/eviction.apps"])

    def test_what_was_refused_or_came_by_another_role_is_told(self):
        self.assertEqual(rights.refusals([event("list", "secrets", refused=True)] * 2), ["asked for and refused: list secrets"])
        late = {**event("get", "leases", refused=True), "requestReceivedTimestamp": "1970-01-01T00:01:00.5Z"}
        self.assertEqual(rights.refusals([late], [(60, 61)]), [], "there was no role")
        self.assertEqual(rights.refusals([late], [(61, 62), (30, 60)]), ["asked for and refused: get leases"])
        self.assertEqual(self.compared([*USED, NAMED, event("list", "nodes")]), ["used by another role: list nodes"])

    def test_an_excuse_holds_for_one_right_that_is_granted(self):
        excuse = {("", "configmaps", "get"): "a reason"}
        self.assertEqual(self.compared(USED, excuse), [])
        self.assertEqual(self.compared([*USED, NAMED], excuse), [])
        self.assertEqual(self.compared([*USED, NAMED], {("", "nodes", "get"): "a reason"}), ["excused though it is not granted: get nodes"])

    def test_config_maps_are_read_by_name_where_an_upstream_names_them(self):
        written = [upstream({"caBundleRef": {"name": "authority"}}), upstream({"caBundleRef": {"kind": "Secret", "name": "secret"}}), upstream({})]
        patched = {**event("patch", "upstreams"), "requestObject": [{"op": "remove", "path": "/spec/access"}]}
        named = rights.declared([*written, patched])
        self.assertEqual(named, {("apt", "authority")})
        self.assertEqual(rights.of_config_maps([NAMED, event("get", "pods", name="other")], named), [])
        for wrong in (event("list", "configmaps"), event("watch", "configmaps", name="authority"), event("get", "configmaps", name="secret")):
            with self.subTest(wrong=wrong["verb"]):
                self.assertEqual(len(rights.of_config_maps([NAMED, wrong], named)), 1)
