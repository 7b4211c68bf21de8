"""PodSecurity: levels, versions, exemptions, and what it notes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.apiserver.admission import default_plugins
from actors.apiserver.admission._pod_security import PREFIX
from actors.apiserver.admission._pod_security_checks import evaluate

Object = dict[str, Any]
GOOD = {
    "allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip

contexts = st.fixed_dictionaries(
    {},
    optional={
        "privileged": st.booleans(),
        "allowPrivilegeEscalation": st.booleans(),
        "runAsNonRoot": st.booleans(),
        "runAsUser": st.sampled_from([0, 1000]),
        "procMount": st.sampled_from(["Default", "Unmasked"]),
        "capabilities": st.fixed_dictionaries(
            {}, optional={"drop": st.just(["ALL"]), "add": st.lists(st.sampled_from(["CHOWN", "NET_BIND_SERVICE", "SYS_ADMIN"]))}
        ),
        "seccompProfile": st.fixed_dictionaries({"type": st.sampled_from(["RuntimeDefault", "Localhost", "Unconfined"])}),
        "appArmorProfile": st.fixed_dictionaries({"type": st.sampled_from(["RuntimeDefault", "Unconfined"])}),
        "seLinuxOptions": st.fixed_dictionaries({}, optional={"type": st.sampled_from(["container_t", "spc_t"]), "user": st.just("u")}),
        "windowsOptions": st.fixed_dictionaries({"hostProcess": st.booleans()}),
    },
) | st.just(GOOD)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc"), "securityContext": contexts},
        optional={"ports": st.lists(st.fixed_dictionaries({}, optional={"hostPort": st.sampled_from([0, 80])}), max_size=1),
                  "livenessProbe": st.just({"httpGet": {"host": "h"}})},
    ),
    max_size=2,
)  # fmt: skip
specs = st.fixed_dictionaries(
    {"containers": containers},
    optional={
        "initContainers": containers,
        "ephemeralContainers": containers,
        "hostUsers": st.booleans(),
        "hostNetwork": st.booleans(),
        "os": st.fixed_dictionaries({"name": st.sampled_from(["linux", "windows"])}),
        "securityContext": contexts,
        "volumes": st.lists(
            st.sampled_from([{"name": "v", "hostPath": {"path": "/"}}, {"name": "v", "nfs": {}}, {"name": "v", "image": {}}]),
            max_size=2,
        ),
    },
)
notes = st.dictionaries(
    st.sampled_from([
        "seccomp.security.alpha.kubernetes.io/pod", "container.apparmor.security.beta.kubernetes.io/a",
    ]),
    st.sampled_from(["unconfined", "runtime/default"]),
)  # fmt: skip


@given(specs, notes, st.integers(0, 40), st.integers(31, 37))
def test_what_is_restricted_enough_is_baseline_enough(spec: Object, annotations: Object, minor: int, newest: int) -> None:
    meta = {"annotations": annotations}
    if (spec.get("os") or {}).get("name") == "windows":
        spec = {**spec, "os": {"name": "linux"}}  # what is meant for Linux, validation refuses for Windows
    if not evaluate("restricted", minor, meta, spec, newest):
        assert not evaluate("baseline", minor, meta, spec, newest)
    assert evaluate("privileged", minor, meta, spec, newest) == []


@given(specs, st.integers(0, 60))
def test_a_cluster_knows_no_rules_made_after_it(spec: Object, minor: int) -> None:
    assert evaluate("restricted", 60, {}, spec, min(minor, 37)) == evaluate("restricted", min(minor, 37), {}, spec, 37)


def test_sysctls_allowed_from_37_on_are_refused_before() -> None:
    spec = {"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_notsent_lowat"}]}}
    assert evaluate("baseline", 10_000, {}, spec, 36) == [("forbidden sysctls", "net.ipv4.tcp_notsent_lowat")]
    assert evaluate("baseline", 10_000, {}, spec, 37) == []


def test_user_namespaces_relax_what_needs_no_root_since_35() -> None:
    container = {"name": "a", "securityContext": {**GOOD, "runAsNonRoot": False, "runAsUser": 0}}
    spec = {"hostUsers": False, "containers": [container]}
    assert evaluate("restricted", 10_000, {}, spec, 36) == []
    assert [reason for reason, _ in evaluate("restricted", 34, {}, spec, 36)] == ["runAsNonRoot != true", "runAsUser=0"]
    masked = {"hostUsers": False, "containers": [{"name": "a", "securityContext": {**GOOD, "procMount": "Unmasked"}}]}
    assert evaluate("baseline", 10_000, {}, masked, 36) == []
    assert [reason for reason, _ in evaluate("restricted", 10_000, {}, masked, 36)] == ["procMount"]


def pod(name: str = "p", **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "a", "image": "i"}], **spec}}


def home(api: Any, name: str, **labels: str) -> None:
    wanted = {f"{PREFIX}{key.replace('_', '-')}": value for key, value in labels.items()}
    api.create("namespaces", "", {"metadata": {"name": name, "labels": wanted}})
    api.create("serviceaccounts", name, {"metadata": {"name": "default"}})


EXEMPT = {
    "PodSecurity": {
        "defaults": {"enforce": "baseline", "enforce-version": "v1.30"},
        "exemptions": {"usernames": ["admin"], "namespaces": ["free"], "runtimeClasses": ["vm"]},
    }
}


def test_namespaces_without_labels_have_the_policies_of_the_configuration(make_api: Callable[..., Any], refused: Any) -> None:
    api = make_api(admission_configuration={"PodSecurity": {"defaults": EXEMPT["PodSecurity"]["defaults"]}})
    home(api, "plain")
    home(api, "strict", enforce="privileged")
    error = refused(api.create, "pods", "plain", pod(hostNetwork=True))
    assert error.message == 'pods "p" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)'
    assert api.create("pods", "strict", pod(hostNetwork=True))


def test_who_is_exempt_is_not_looked_at(make_api: Callable[..., Any], refused: Any, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    configuration = {"PodSecurity": {**EXEMPT["PodSecurity"], "exemptions": {"namespaces": ["free"], "runtimeClasses": ["vm"]}}}
    api = make_api(admission_configuration=configuration, audit_path=path)
    home(api, "free", enforce="restricted")
    home(api, "other")
    api.create("runtimeclasses.node.k8s.io", "", {"metadata": {"name": "vm"}, "handler": "vm"})
    assert api.create("pods", "free", pod(hostNetwork=True))
    assert api.create("pods", "other", pod(hostNetwork=True, runtimeClassName="vm"))
    assert refused(api.create, "pods", "other", pod("q", hostNetwork=True)).code == 403
    api.settle()
    events = [json.loads(line) for line in path.read_text().splitlines()]
    noted = [event["annotations"] for event in events if event["objectRef"]["resource"] == "pods"]
    assert [found.get(f"{PREFIX}exempt") for found in noted] == ["namespace", "runtimeClass", None]
    assert noted[2][f"{PREFIX}enforce-policy"] == "baseline:v1.30"


def test_violations_are_noted_for_the_audit_log_even_of_what_is_refused(
    make_api: Callable[..., Any], refused: Any, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    api = make_api(audit_path=path)
    home(api, "safe", enforce="baseline", audit="restricted", audit_version="v1.7")
    assert refused(api.create, "pods", "safe", pod(hostPID=True)).code == 403
    api.settle()
    event = json.loads(path.read_text().splitlines()[-1])
    assert event["annotations"][f"{PREFIX}enforce-policy"] == "baseline:latest"
    words = event["annotations"][f"{PREFIX}audit-violations"]
    assert words.startswith('would violate PodSecurity "restricted:v1.7": host namespaces (hostPID=true), runAsNonRoot')


def test_a_configuration_with_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="strict:latest"):
        default_plugins({"PodSecurity": {"defaults": {"warn": "strict"}}})
