#!/usr/bin/env python3
"""Tests of the charts by Helm itself, without a cluster. MIRRORFLEET_BLESS=1 writes the golden renderings anew."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import helm  # noqa: E402 beside this file
import reference  # noqa: E402
from tests.rights import Rights  # noqa: E402, F401 more tests

GOLDEN = HERE / "tests" / "golden"
MAIN, MIRRORS = helm.CHARTS
CLUSTER_WIDE = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
MANIFEST_ERROR, UNREACHABLE = 1, 2

#: What is refused in the chart mirrorfleet: values, and what the message says.
REFUSED_MAIN = [
    ({"replicas": 0}, "/replicas"),
    ({"replicas": "2"}, "/replicas"),
    ({"image": {"repository": ""}}, "/image/repository"),
    ({"image": {"tag": "a tag"}}, "/image/tag"),
    ({"image": {"digest": "0123"}}, "/image/digest"),
    ({"image": {"pullPolicy": "always"}}, "/image/pullPolicy"),
    ({"imagePullSecrets": ["name"]}, "/imagePullSecrets/0"),
    ({"global": {"imageRegistri": "registry.example.org"}}, "imageRegistri"),
    ({"global": {"registry": "registry.example.org"}}, "registry"),
    ({"global": {"imagePullSecret": ["a"]}}, "imagePullSecret"),
    ({"global": {"imageRegistry": "https://registry.example.org"}}, "/global/imageRegistry"),
    ({"fullnameOverride": "Fleet"}, "/fullnameOverride"),
    ({"fullnameOverride": "a" * 51}, "/fullnameOverride"),
    ({"namespace": "two words"}, "/namespace"),
    ({"commonLabels": {"a": 1}}, "/commonLabels/a"),
    ({"pods": {"securityContext": {"runAsUser": 0}}}, "/pods/securityContext/runAsUser"),
    ({"pods": {"securityContext": {"runAsRoot": True}}}, "runAsRoot"),
    ({"pods": {"nodeSelector": {}}}, "nodeSelector"),
    ({"podsAllowed": {"priorityClass": ["a"]}}, "priorityClass"),
    ({"routesAllowed": {"kinds": ["Route"]}}, "/routesAllowed/kinds/0"),
    ({"routesAllowed": {"annotationPrefix": ["a"]}}, "annotationPrefix"),
    ({"log": {"format": "xml"}}, "/log/format"),
    ({"proxy": {"http": "proxy:3128"}}, "/proxy/http"),
    ({"proxy": {"noProxy": ["a,b"]}}, "/proxy/noProxy/0"),
    ({"serviceAccount": {"create": False}}, "/serviceAccount/name"),
    ({"metrics": {"service": {"port": 0}}}, "/metrics/service/port"),
    ({"push": {"port": 0}}, "/push/port"),
    ({"push": {"token": "x"}}, "token"),
    ({"networkPolicy": {"controller": {"pushFrom": [{}]}}}, "/networkPolicy/controller/pushFrom/0"),
    ({"statusPage": {"port": 0}}, "/statusPage/port"),
    ({"statusPage": {"namespaces": ["Two words"]}}, "/statusPage/namespaces/0"),
    ({"statusPage": {"public": True}}, "public"),
    ({"networkPolicy": {"controller": {"statusPageFrom": [{}]}}}, "/networkPolicy/controller/statusPageFrom/0"),
    ({"resources": {"request": {"cpu": "1"}}}, "request"),
    ({"podSecurityContext": {"runAsNonroot": True}}, "runAsNonroot"),
    ({"securityContext": {"readonlyRootFilesystem": True}}, "readonlyRootFilesystem"),
    ({"probes": {"liveness": {"periodSeconds": 0}}}, "/probes/liveness/periodSeconds"),
    ({"probes": {"startup": {}}}, "startup"),
    ({"tolerations": [{"keys": "a"}]}, "keys"),
    ({"affinity": {"nodeAfinity": {}}}, "nodeAfinity"),
    ({"topologySpreadConstraints": [{"maxSkew": 1}]}, "/topologySpreadConstraints/0"),
    ({"extraArgs": ["controller"]}, "/extraArgs/0"),
    ({"extraEnv": [{"name": "A", "valeu": "b"}]}, "valeu"),
    ({"extraVolumes": [{"emptyDir": {}}]}, "/extraVolumes/0"),
    ({"extraVolumeMounts": [{"name": "a", "mountPath": "b"}]}, "/extraVolumeMounts/0/mountPath"),
    ({"extraObjects": [{"kind": "ConfigMap"}]}, "/extraObjects/0"),
    ({"networkPolicy": {"enabled": True}}, "enabled"),
    ({"networkPolicy": {"controller": {"metricsFrom": [{}]}}}, "/networkPolicy/controller/metricsFrom/0"),
    ({"networkPolicy": {"sync": {"egress": [{"from": []}]}}}, "from"),
    ({"networkPolicy": {"serving": {"enabled": True}}}, "networkPolicy.namespaces"),
    ({"networkPolicy": {"sync": {"enabled": True}}}, "networkPolicy.namespaces"),
]  # fmt: skip

SPEC = {
    "upstreamRef": {"name": "a"}, "content": {"debian": {"suites": ["a"], "components": ["main"], "architectures": ["amd64"]}},
    "storage": {"size": "1Gi"}, "regions": [{"name": "main"}],
}  # fmt: skip
#: The same in the chart mirrorfleet-mirrors.
REFUSED_MIRRORS = [
    ({"mirror": {}}, "mirror"),
    ({"mirrors": {"Debian": {"spec": SPEC}}}, "Debian"),
    ({"mirrors": {"debian": {}}}, "spec"),
    ({"mirrors": {"debian": SPEC}}, "upstreamRef"),
    ({"mirrors": {"debian": {"spec": {**SPEC, "region": []}}}}, "region"),
    ({"mirrors": {"debian": {"spec": {**SPEC, "storage": {"sizes": "1Gi"}}}}}, "sizes"),
    ({"mirrors": {"debian": {"spec": {**SPEC, "regions": [{"nam": "main"}]}}}}, "nam"),
    ({"mirrors": {"debian": {"spec": {**SPEC, "content": {"debian": {"suite": ["a"]}}}}}}, "suite"),
    ({"upstreams": {"debian": {"spec": {"type": "Debain"}}}}, "/upstreams/debian/spec/type"),
    ({"upstreams": {"debian": {"spec": {"type": "Debian", "athority": {}}}}}, "athority"),
    ({"keyrings": {"a": {}}}, "/keyrings/a"),
    ({"keyrings": {"a": {"data": {"a key": "x"}}}}, "a key"),
    ({"keyrings": {"a": {"datas": {"key": "x"}}}}, "datas"),
]  # fmt: skip


def shapes(chart: Path) -> list[Path]:
    return sorted((chart / "ci").glob("*-values.yaml"))


def without_definitions(rendered: str) -> str:
    """The kinds' definitions shortened to their metadata: another test compares what they say."""
    documents = helm.SEPARATOR.split(rendered)
    return "---".join(
        re.sub(r"^spec:\n.*", "", text, flags=re.MULTILINE | re.DOTALL) if re.search("^kind: CustomResourceDefinition$", text, re.MULTILINE) else text
        for text in documents
    )


def refusal(chart: Path, values: dict) -> str:
    """What Helm says against these values; empty where it takes them."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values, file)
        file.flush()
        result = helm.run("template", "fleet", chart, "--values", file.name, check=False)
    return result.stderr if result.returncode else ""


def render(chart: Path = MAIN, values: dict | None = None, **where) -> list[dict]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(values or {}, file)
        file.flush()
        return helm.parse_all(helm.template(chart, "--values", file.name, **where))


def identity(thing: dict) -> tuple[str, str, str]:
    namespace = "" if thing["kind"] in CLUSTER_WIDE else thing["metadata"].get("namespace", "")
    return thing["kind"], namespace, thing["metadata"]["name"]


def of_kind(things: list[dict], kind: str) -> list[dict]:
    return [thing for thing in things if thing["kind"] == kind]


class Both(unittest.TestCase):
    def test_renderings_are_as_they_were(self):
        bless = os.environ.get("MIRRORFLEET_BLESS") == "1"
        wanted = set()
        for chart in helm.CHARTS:
            for shape in shapes(chart):
                rendered = without_definitions(helm.template(chart, "--values", shape))
                golden = GOLDEN / chart.name / f"{shape.name.removesuffix('-values.yaml')}.yaml"
                wanted.add(golden)
                if bless:
                    golden.parent.mkdir(parents=True, exist_ok=True)
                    golden.write_text(rendered)
                with self.subTest(golden=golden.relative_to(GOLDEN)):
                    before = golden.read_text() if golden.exists() else ""
                    difference = difflib.unified_diff(before.splitlines(), rendered.splitlines(), "golden", "rendered", lineterm="", n=2)
                    self.assertEqual(before, rendered, "MIRRORFLEET_BLESS=1 charts/test.py takes it:\n" + "\n".join(difference))
        self.assertEqual(set(GOLDEN.glob("*/*.yaml")), wanted, "golden renderings without values")

    def test_lint_has_nothing_to_say(self):
        for chart in helm.CHARTS:
            for shape in shapes(chart):
                with self.subTest(shape=shape.name):
                    helm.run("lint", "--strict", chart, "--values", shape)

    def test_readmes_and_descriptions_are_those_of_the_values(self):
        self.assertEqual(list(reference.stale()), [], "run charts/reference.py")

    def test_every_value_is_told_of(self):
        for chart in helm.CHARTS:
            text = (chart / "values.yaml").read_text()
            told = {value.path for value in reference.documented(text)}
            schema = json.loads((chart / "values.schema.json").read_text())
            with self.subTest(chart=chart.name):
                self.assertEqual(set(schema["properties"]) - {"global"} - set(helm.parse(text)), set(), "in the schema only")
                self.assertEqual({path for path in leaves(helm.parse(text)) if not any(path[:n] in told for n in range(1, len(path) + 1))}, set())
                self.assertEqual(undescribed(schema, skip=("Upstream", "Mirror")), [])

    def test_typing_errors_are_refused(self):
        cases = [(MAIN, *case) for case in REFUSED_MAIN] + [(MIRRORS, *case) for case in REFUSED_MIRRORS]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda case: refusal(case[0], case[1]), cases))
        for (chart, values, word), told in zip(cases, answers):
            with self.subTest(chart=chart.name, values=values):
                self.assertIn(word, told)

    def test_a_typing_error_is_refused_in_every_group(self):
        """All at once: Helm tells of each."""
        told = reference.documented((MAIN / "values.yaml").read_text())
        # Under `global` other charts have keys too; the table has what is refused there.
        groups = [(), *(value.path for value in told if value.group and value.path != ("global",))]
        groups += [("pods", "securityContext"), ("resources",), ("affinity",)]
        values: dict = {}
        for number, path in enumerate(groups):
            place = values
            for key in path:
                place = place.setdefault(key, {})
            place[f"typo{number}"] = 1
        refused = refusal(MAIN, values)
        for number, path in enumerate(groups):
            with self.subTest(group=".".join(path)):
                self.assertIn(f"'typo{number}'", refused)

    def test_what_the_hub_is_told_is_so(self):
        about = {chart.name: helm.parse((chart / "Chart.yaml").read_text()) for chart in helm.CHARTS}
        self.assertEqual(len({(one["version"], one["appVersion"]) for one in about.values()}), 1, "the charts are released together")
        main = about["mirrorfleet"]
        hub = {key.removeprefix("artifacthub.io/"): value for key, value in main["annotations"].items()}
        inner = lambda name: helm.parse("list:\n" + hub[name])["list"]  # noqa: E731
        images = {container["image"] for container in containers(render())}
        self.assertEqual({one["image"] for one in inner("images")}, images)
        kinds = {(thing["spec"]["names"]["kind"], thing["metadata"]["name"]) for thing in of_kind(render(), "CustomResourceDefinition")}
        self.assertEqual({(one["kind"], one["name"]) for one in inner("crds")}, kinds)
        self.assertEqual(inner("crdsExamples"), helm.parse_all((HERE.parent / "examples" / "debian.yaml").read_text()))
        for one in about.values():
            self.assertTrue((HERE.parent / one["icon"].split("/main/")[1]).is_file(), one["icon"])
            changes = helm.parse("list:\n" + one["annotations"]["artifacthub.io/changes"])["list"]
            self.assertLessEqual({change["kind"] for change in changes}, {"added", "changed", "deprecated", "removed", "fixed", "security"})


class Main(unittest.TestCase):
    def test_one_registry_for_all_images(self):
        registry = "registry.example.org:5000/cache"
        for repository, name in [
            ("ghcr.io/mirrorfleet/mirrorfleet", "mirrorfleet/mirrorfleet"),
            ("localhost/mirrorfleet", "mirrorfleet"),
            ("mirrors:5000/a/b", "a/b"),
            ("team/mirrorfleet", "team/mirrorfleet"),
            ("mirrorfleet", "mirrorfleet"),
        ]:
            with self.subTest(repository=repository):
                things = render(values={"global": {"imageRegistry": registry}, "image": {"repository": repository, "tag": "a"}})
                wanted = f"{registry}/{name}:a"
                self.assertEqual({container["image"] for container in containers(things)}, {wanted})
                self.assertIn(f"--image={wanted}", arguments(things))

    def test_a_digest_wins(self):
        digest = "sha256:" + "ab" * 32
        things = render(values={"image": {"digest": digest, "tag": "a"}})
        self.assertIn(f"--image=ghcr.io/mirrorfleet/mirrorfleet@{digest}", arguments(things))

    def test_common_labels_and_annotations_are_on_everything_and_select_nothing(self):
        labels, annotations = {"example.org/team": "a"}, {"example.org/contact": "b"}
        values = {
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "networkPolicy": {"namespaces": ["m"], "sync": {"enabled": True}},
            "monitoring": {"podMonitors": {"enabled": True}, "rules": {"enabled": True}},
        }
        things = render(values=values)
        pods = [thing["spec"]["template"] for thing in of_kind(things, "Deployment")]
        for thing in [*things, *pods]:
            with self.subTest(thing=thing["metadata"].get("name"), kind=thing.get("kind")):
                self.assertLessEqual(labels.items(), thing["metadata"]["labels"].items())
                self.assertLessEqual(annotations.items(), thing["metadata"]["annotations"].items())
        plain = of_kind(render(), "Deployment")[0]
        self.assertEqual(of_kind(things, "Deployment")[0]["spec"]["selector"], plain["spec"]["selector"])

    def test_a_namespace_of_ones_own_needs_nothing_cluster_wide(self):
        things = render(values={"namespace": "mirrors", "crds": {"enabled": False}, "rbac": {"aggregate": False}})
        self.assertEqual([identity(thing) for thing in things if thing["kind"] in CLUSTER_WIDE], [])
        self.assertEqual({thing["metadata"]["namespace"] for thing in things}, {"mirrors", "mirrorfleet-system"})
        # With the two switches, nothing but what they say.
        switched = [thing for thing in render(values={"namespace": "mirrors"}) if thing["kind"] in CLUSTER_WIDE]
        aggregated = [thing for thing in of_kind(switched, "ClusterRole") if any("aggregate-to" in key for key in thing["metadata"]["labels"])]
        self.assertEqual(len(switched), len(of_kind(switched, "CustomResourceDefinition")) + len(aggregated))

    def test_two_releases_never_meet(self):
        long = "mirrors-of-the-platform-team-in-the-north-of-europe-0"
        releases = [
            ("mirrorfleet", "x-y"), ("mirrorfleet-x", "y"), ("mirrorfleet", "x"), ("mirrorfleet", "x-view"), ("mirrorfleet", "x-y-view"),
            (long + "a"[:0], "one"), (long[:-1] + "1", "one"), (long, "n" * 63), (long, "n" * 62 + "m"), ("a.b", "one"), ("a-b", "one"),
            ("0a", "one"), ("r-0a", "one"),
        ]  # fmt: skip
        values = {
            "crds": {"enabled": False},
            "networkPolicy": {"namespaces": ["mirrors"], "controller": {"enabled": True}, "serving": {"enabled": True}, "sync": {"enabled": True}},
        }
        seen: dict[tuple, tuple] = {}
        for release, namespace in releases:
            for thing in render(values=values, release=release, namespace=namespace):
                name = identity(thing)
                self.assertNotIn(name, seen, f"{release} in {namespace} meets {seen.get(name)}")
                seen[name] = (release, namespace)
                if thing["kind"] in ("Service", "Deployment", "Pod"):
                    self.assertRegex(thing["metadata"]["name"], r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")

    def test_pods_are_restricted(self):
        for shape in shapes(MAIN):
            things = helm.parse_all(helm.template(MAIN, "--values", shape))
            for pod in pods_of(things):
                with self.subTest(shape=shape.name):
                    self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                    self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                    for container in pod["containers"]:
                        context = container["securityContext"]
                        self.assertEqual((context["allowPrivilegeEscalation"], context["capabilities"]), (False, {"drop": ["ALL"]}))

    def test_rights_can_be_left_out(self):
        self.assertEqual(of_kind(render(values={"rbac": {"create": False, "aggregate": False}}), "ClusterRole"), [])
        named = lambda things: {name for rule in of_kind(things, "ClusterRole")[0]["rules"] for name in rule["resources"]}  # noqa: E731
        values = {"rbac": {"aggregate": False}}
        self.assertIn("configmaps", named(render(values=values)))
        values["rbac"]["configMaps"] = False
        self.assertNotIn("configmaps", named(render(values=values)))

    def test_an_account_that_exists_is_bound_and_not_made(self):
        things = render(values={"serviceAccount": {"create": False, "name": "theirs"}})
        self.assertEqual(of_kind(things, "ServiceAccount"), [])
        bound = [subject["name"] for kind in ("ClusterRoleBinding", "RoleBinding") for thing in of_kind(things, kind) for subject in thing["subjects"]]
        self.assertEqual(bound, ["theirs", "theirs"])
        self.assertEqual(of_kind(things, "Deployment")[0]["spec"]["template"]["spec"]["serviceAccountName"], "theirs")

    def test_policies_are_off_and_select_the_pods_of_their_role(self):
        self.assertEqual(of_kind(render(), "NetworkPolicy"), [])
        every = {role: {"enabled": True} for role in ("controller", "serving", "sync")}
        policies = of_kind(render(values={"networkPolicy": {"namespaces": ["a", "b"], **every}}), "NetworkPolicy")
        places = sorted((policy["metadata"]["namespace"], policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"]) for policy in policies)
        # Of serving pods those that fetch on demand have one more.
        roles = ("audit", "probe", "serving", "serving", "sync")
        self.assertEqual(places, [*((namespace, role) for namespace in ("a", "b") for role in roles), ("mirrorfleet-system", "controller")])
        for policy in policies:
            for rule in policy["spec"].get("ingress", []):
                # A rule without peers lets everybody in: so may only the port that serves.
                self.assertTrue(rule.get("from") or rule["ports"] == [{"protocol": "TCP", "port": 8080}], rule)

    def test_what_the_pods_are_given_is_told_without_what_is_empty(self):
        self.assertIn("--pods={}", arguments(render()))
        things = render(values={"pods": {"securityContext": {"runAsUser": 1000660000}}})
        self.assertIn('--pods={"securityContext":{"runAsUser":1000660000}}', arguments(things))


class Mirrors(unittest.TestCase):
    def test_what_is_rendered_is_accepted_by_plan(self):
        """By the same rules as in the API server; then nobody answers, since no test leaves this machine."""
        from environment import mirrorfleet_binary

        for shape in shapes(MIRRORS):
            rendered = helm.template(MIRRORS, "--values", shape, namespace="mirrors")
            if not helm.documents(rendered):
                continue
            manifests = re.sub(r"https?://[a-z.]*kernel\.org/", "http://127.0.0.1:9/", rendered)
            with self.subTest(shape=shape.name):
                self.assertEqual(plan(mirrorfleet_binary(), manifests).returncode, UNREACHABLE, plan(mirrorfleet_binary(), manifests))
                # And a key that the kind does not know is not.
                broken = re.sub(r"keyringRef:\n( +)key: ", r"keyringRef:\n\1kez: ", manifests)
                self.assertNotEqual(broken, manifests)
                self.assertEqual(plan(mirrorfleet_binary(), broken).returncode, MANIFEST_ERROR)

    def test_names_are_those_of_the_values_and_kept_if_asked(self):
        spec = {"spec": SPEC}
        things = render(MIRRORS, {"mirrors": {"debian": spec}, "keep": True}, namespace="mirrors")
        self.assertEqual([identity(thing) for thing in things], [("Mirror", "mirrors", "debian")])
        self.assertEqual(things[0]["spec"], SPEC)
        self.assertEqual(things[0]["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"})
        self.assertNotIn("annotations", render(MIRRORS, {"mirrors": {"debian": spec}})[0]["metadata"])

    def test_the_example_of_the_readme_is_taken(self):
        text = re.search(r"```yaml\n(.*?)```", (MIRRORS / "README.md").read_text(), re.DOTALL)[1]
        self.assertEqual(len(render(MIRRORS, helm.parse(text))), 3)
        text = re.search(r"```yaml\n(.*?)```", (MAIN / "README.md").read_text(), re.DOTALL)[1]
        self.assertEqual(len(of_kind(render(MAIN, helm.parse(text)), "NetworkPolicy")), 6)


def plan(binary: Path, manifests: str) -> subprocess.CompletedProcess:
    with tempfile.TemporaryDirectory() as data:
        return subprocess.run([binary, "plan", "--filename", "-", "--data", data], input=manifests, capture_output=True, text=True, timeout=60)


def pods_of(things: list[dict]) -> list[dict]:
    return [thing["spec"]["template"]["spec"] for thing in of_kind(things, "Deployment")] + [thing["spec"] for thing in of_kind(things, "Pod")]


def containers(things: list[dict]) -> list[dict]:
    return [container for pod in pods_of(things) for container in pod["containers"]]


def arguments(things: list[dict]) -> list[str]:
    return of_kind(things, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]


def leaves(values: dict, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in values.items():
        found += leaves(value, (*path, key)) if isinstance(value, dict) and value else [(*path, key)]
    return found


def undescribed(schema: dict, skip: tuple[str, ...], path: str = "") -> list[str]:
    """Properties without a description."""
    found = []
    for name, inner in schema.get("properties", {}).items():
        if not inner.get("description"):
            found.append(f"{path}.{name}")
        found += undescribed(inner, skip, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        found += undescribed(schema["items"], skip, f"{path}[]")
    for name, inner in schema.get("$defs", {}).items():
        found += [] if name in skip else undescribed(inner, skip, f"#{name}")
    return found


if __name__ == "__main__":
    result = unittest.main(exit=False).result
    print(f"{result.testsRun} passed" if result.wasSuccessful() else "FAILED", flush=True)
    sys.exit(0 if result.wasSuccessful() else 1)
