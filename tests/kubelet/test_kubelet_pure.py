"""The kubelet's arithmetic: QoS, cgroups, environment, volumes, back-off, probes, admission."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.kubelet._admission import Admission
from actors.kubelet._backoff import Backoff
from actors.kubelet._cgroups import (
    cgroup_parent,
    cpu_quota_us,
    cpu_shares,
    hugepage_limits,
    oom_score_adj,
    pod_cgroups,
)
from actors.kubelet._config import KubeletConfig
from actors.kubelet._env import ConfigError, environment, expand, service_variables
from actors.kubelet._local_storage import excess, is_bounded
from actors.kubelet._node_status import allocatable, parse_capacity
from actors.kubelet._nodes import node_ip, node_pod_cidr
from actors.kubelet._probes import LIVENESS, READINESS, STARTUP, Probe
from actors.kubelet._security import breaks_non_root, unenforceable
from actors.kubelet._spec import pod_requests, qos_class, should_restart
from actors.kubelet._volume_setup import volume_setup
from actors.kubelet._volumes import MountError, content, needs
from protocol.cgroups import cpu_weight

Object = dict[str, Any]


def pod(*resources: Object | None, init: tuple[Object, ...] = (), **spec: Any) -> Object:
    containers = [{"name": f"c{i}", "image": "i", **({"resources": r} if r else {})} for i, r in enumerate(resources)]
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "uid-1", "labels": {"a": "b"}},
        "spec": {"containers": containers, **({"initContainers": list(init)} if init else {}), **spec},
    }


def both(cpu: str, memory: str) -> Object:
    return {"cpu": cpu, "memory": memory}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([None], "BestEffort"), ([{"limits": both("1", "1Gi")}], "Guaranteed"), ([{"limits": both("1", "1Gi"), "requests": both("1000m", "1024Mi")}], "Guaranteed"),
        ([{"limits": both("1", "1Gi"), "requests": {"cpu": "500m"}}], "Burstable"), ([{"requests": {"cpu": "1"}}], "Burstable"),
        ([{"limits": both("1", "1Gi")}, None], "Burstable"), ([{"limits": {"cpu": "1"}}], "Burstable"),
    ],
)  # fmt: skip
def test_the_qos_class_follows_requests_and_limits(resources: list[Object | None], expected: str) -> None:
    assert qos_class(pod(*resources)) == expected


@pytest.mark.parametrize(
    ("milli", "shares"),
    [(0, 2), (1, 2), (10, 10), (100, 102), (250, 256), (1000, 1024), (2500, 2560), (1_000_000, 262_144)],
)
def test_requests_become_cpu_shares(milli: int, shares: int) -> None:
    assert cpu_shares(milli) == shares


@pytest.mark.parametrize(
    ("milli", "quota"), [(0, -1), (1, 1000), (5, 1000), (50, 5000), (200, 20_000), (1000, 100_000), (1500, 150_000)]
)
def test_limits_become_a_quota_per_period(milli: int, quota: int) -> None:
    assert cpu_quota_us(milli) == quota


@pytest.mark.parametrize(("shares", "weight"), [(0, 0), (2, 1), (102, 17), (1024, 100), (2048, 174), (262_144, 10_000)])
def test_shares_become_weights_in_the_second_version(shares: int, weight: int) -> None:
    assert cpu_weight(shares) == weight


@given(st.integers(2, 262_144), st.integers(2, 262_144))
def test_weights_keep_the_order_of_shares(a: int, b: int) -> None:
    assert cpu_weight(min(a, b)) <= cpu_weight(max(a, b))
    assert 1 <= cpu_weight(a) <= 10_000


def test_huge_pages_are_limits_by_the_kernels_names() -> None:
    limits = {"hugepages-2Mi": "4Mi", "hugepages-1Gi": "1Gi", "hugepages-64Ki": "128Ki", "memory": "1Gi"}
    wanted = {"2MB": 4 << 20, "1GB": 1 << 30, "64kB": 128 << 10}
    assert hugepage_limits(limits) == wanted
    groups = pod_cgroups(pod({"limits": limits, "requests": {"cpu": "1"}}), pids_limit=100)
    (parent, _) = groups
    assert groups[parent]["v2"]["hugetlb.2MB.max"] == str(4 << 20)
    assert groups[parent]["v1"]["hugetlb.2MB.limit_in_bytes"] == str(4 << 20)
    assert groups[parent]["v2"]["pids.max"] == "100"


def test_memory_is_kept_and_slowed_down_where_that_is_asked_for() -> None:
    p = pod({"limits": {"memory": "200Mi"}, "requests": {"memory": "100Mi"}}, {"requests": {"memory": "100Mi"}})
    plain, kept = pod_cgroups(p), pod_cgroups(p, None, 1 << 30, 0.9)
    parent = cgroup_parent(p)
    assert "memory.high" not in plain[f"{parent}/c0"]["v2"]
    mebi = 1 << 20
    assert kept[parent]["v2"]["memory.min"] == str(200 * mebi)
    assert kept[f"{parent}/c0"]["v2"]["memory.min"] == str(100 * mebi)
    assert kept[f"{parent}/c0"]["v2"]["memory.high"] == str(190 * mebi)
    free = 100 * mebi + int(0.9 * (1024 - 100) * mebi)
    assert kept[f"{parent}/c1"]["v2"]["memory.high"] == str(free // 4096 * 4096)


@pytest.mark.parametrize(
    ("whole", "own", "image_user", "words"),
    [
        ({}, {"runAsNonRoot": True}, "", "container has runAsNonRoot and image will run as root"),
        ({}, {"runAsNonRoot": True}, "0:0", "container has runAsNonRoot and image will run as root"),
        ({"runAsUser": 0}, {"runAsNonRoot": True}, "1000", "container's runAsUser breaks non-root policy"),
        ({"runAsNonRoot": True}, {}, "web", "container has runAsNonRoot and image has non-numeric user (web), cannot verify user is non-root"),
        ({"runAsNonRoot": True}, {"runAsUser": 5}, "", ""),
        ({"runAsNonRoot": True}, {}, "1000:1000", ""),
        ({"runAsNonRoot": True}, {"runAsNonRoot": False}, "", ""),
    ],
)  # fmt: skip
def test_who_must_not_be_root_is_looked_at(whole: Object, own: Object, image_user: str, words: str) -> None:
    p = pod(None, securityContext=whole)
    said = breaks_non_root(p, {"name": "c", "securityContext": own}, image_user, "p_ns(uid-1)")
    assert said == (f'{words} (pod: "p_ns(uid-1)", container: c)' if words else "")


def test_what_the_machine_cannot_keep_is_refused() -> None:
    confined = pod(None, securityContext={"appArmorProfile": {"type": "RuntimeDefault"}})
    strict = pod(None, securityContext={"supplementalGroupsPolicy": "Strict"})
    refusal = unenforceable(confined, ())
    assert refusal == ("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    assert unenforceable(confined, ("apparmor",)) is None
    assert unenforceable(pod(None, securityContext={"appArmorProfile": {"type": "Unconfined"}}), ()) is None
    assert unenforceable(strict, ())[0] == "SupplementalGroupsPolicyNotSupported"  # type: ignore[index]
    assert unenforceable(strict, None) is None


def test_a_volume_says_how_it_is_to_be_made() -> None:
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}}
    p = pod({"limits": {"memory": "1Gi"}}, volumes=[volume], securityContext={"fsGroup": 7})
    made = volume_setup(p, volume, None, {"memory": "8Gi"})  # type: ignore[arg-type]
    assert made is not None
    assert (made.kind, made.medium, made.size_bytes, made.fs_group) == ("emptyDir", "Memory", 64 << 20, 7)
    larger = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}
    assert volume_setup(p, larger, None, {"memory": "8Gi"}).size_bytes == 1 << 30  # type: ignore[arg-type,union-attr]
    modes = {"secretName": "s", "defaultMode": 0o400, "items": [{"key": "k", "path": "a/b", "mode": 0o600}]}
    secret = volume_setup(p, {"name": "s", "secret": modes}, None, {})  # type: ignore[arg-type]
    assert secret is not None
    assert (secret.default_mode, dict(secret.modes)) == (0o400, {"a/b": 0o600})


def test_tokens_are_for_the_pods_only_user_and_group_to_read() -> None:
    token = {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}

    def made(context: Object, own: Object | None = None) -> tuple[Object, Object]:
        p = pod(None, None, securityContext=context)
        p["spec"]["containers"][0]["securityContext"] = own or {}
        volume = volume_setup(p, token, None, {})  # type: ignore[arg-type]
        assert volume is not None
        return dict(volume.modes), dict(volume.owners)

    assert made({}) == ({}, {})
    assert made({"fsGroup": 7}) == ({"token": 0o600}, {})
    assert made({"runAsUser": 5}) == ({"token": 0o600}, {"token": 5})
    assert made({"runAsUser": 5}, {"runAsUser": 6}) == ({}, {})


def test_a_pods_groups_hold_the_sums_of_its_containers() -> None:
    p = pod(
        {"requests": both("250m", "64Mi"), "limits": both("500m", "128Mi")},
        {"requests": {"cpu": "100m"}, "limits": both("200m", "64Mi")},
    )
    groups = pod_cgroups(p)
    parent = "/kubepods/burstable/poduid-1"
    assert list(groups) == [parent, f"{parent}/c0", f"{parent}/c1"]
    assert groups[parent]["v1"] == {
        "cpu.shares": "358",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "70000",
        "memory.limit_in_bytes": str(192 << 20),
    }
    assert groups[f"{parent}/c0"]["v1"]["cpu.cfs_quota_us"] == "50000"
    assert groups[f"{parent}/c1"]["v2"] == {"cpu.weight": "17", "cpu.max": "20000 100000", "memory.max": str(64 << 20)}


def test_a_pod_is_limited_only_if_every_container_is() -> None:
    groups = pod_cgroups(pod({"limits": both("1", "1Gi")}, {"requests": {"cpu": "1"}}))
    assert groups["/kubepods/burstable/poduid-1"]["v2"]["cpu.max"] == "max 100000"
    assert groups["/kubepods/burstable/poduid-1/c0"]["v2"]["cpu.max"] == "100000 100000"


def test_each_qos_class_has_its_place_in_the_tree() -> None:
    assert cgroup_parent(pod({"limits": both("1", "1Gi")})) == "/kubepods/poduid-1"
    assert cgroup_parent(pod(None)) == "/kubepods/besteffort/poduid-1"


def test_the_kernel_kills_best_effort_first_and_guaranteed_last() -> None:
    scores = [
        oom_score_adj(p, p["spec"]["containers"][0], 1 << 30)
        for p in (
            pod({"limits": both("1", "1Gi")}),
            pod({"requests": {"memory": "512Mi"}}),
            pod({"requests": {"cpu": "1"}}),
            pod(None),
        )
    ]
    assert scores == [-997, 500, 999, 1000]


def test_a_pods_requests_are_the_larger_of_running_and_initialising() -> None:
    sidecar = {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}
    init = {"name": "i", "resources": {"requests": {"cpu": "2"}}}
    p = pod({"requests": {"cpu": "500m"}}, {"requests": {"cpu": "500m"}}, init=(sidecar, init))
    assert pod_requests(p)["cpu"] * 1000 == 2100
    p["spec"]["initContainers"] = [sidecar]
    assert pod_requests(p)["cpu"] * 1000 == 1100


@pytest.mark.parametrize(
    ("text", "result"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("x$(A)y$(A)", "x1y1"), ("$A", "$A"), ("$$$(A)", "$1")],
)
def test_references_in_commands_are_expanded_once(text: str, result: str) -> None:
    assert expand(text, {"A": "1"}) == result


CONFIG = {"metadata": {"name": "conf"}, "data": {"key": "v", "other": "w"}}
SECRET = {"metadata": {"name": "sec"}, "data": {"password": base64.b64encode(b"hunter2").decode()}}


def look_up(kind: str, name: str) -> Object | None:
    return {("ConfigMap", "conf"): CONFIG, ("Secret", "sec"): SECRET}.get((kind, name))


def env_of(container: Object, **services: str) -> dict[str, str]:
    p = pod({"limits": {"cpu": "250m", "memory": "64Mi"}})
    container = {**p["spec"]["containers"][0], **container}
    p["spec"]["serviceAccountName"] = "sa"
    return dict(environment(p, container, look_up, services, ("10.0.0.1",), ("1.2.3.4",), "node-0", {"cpu": "8"}))


def test_the_environment_is_made_of_values_and_references() -> None:
    env = env_of(
        {
            "envFrom": [{"configMapRef": {"name": "conf"}, "prefix": "P_"}],
            "env": [
                {"name": "A", "value": "x"},
                {"name": "B", "value": "$(A)-$(P_key)"},
                {"name": "W", "valueFrom": {"secretKeyRef": {"name": "sec", "key": "password"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "O", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "k", "optional": True}}},
            ],
        },
        SVC="s",
    )
    assert env == {
        "P_key": "v",
        "P_other": "w",
        "A": "x",
        "B": "x-v",
        "W": "hunter2",
        "IP": "10.0.0.1",
        "L": "b",
        "N": "node-0",
        "C": "1",
        "M": "64",
        "SVC": "s",
    }


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ({"configMapKeyRef": {"name": "none", "key": "k"}}, 'configmap "none" not found'), ({"secretKeyRef": {"name": "none", "key": "k"}}, 'secret "none" not found'),
        ({"configMapKeyRef": {"name": "conf", "key": "k"}}, "couldn't find key k in ConfigMap ns/conf"),
    ],
)  # fmt: skip
def test_what_the_environment_lacks_is_named(variable: Object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        env_of({"env": [{"name": "X", "valueFrom": variable}]})


def test_services_of_the_namespace_become_variables() -> None:
    services = [
        {
            "metadata": {"name": "my-db", "namespace": "ns"},
            "spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "sql", "port": 5432}]},
        },
        {
            "metadata": {"name": "kubernetes", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]},
        },
        {
            "metadata": {"name": "other", "namespace": "elsewhere"},
            "spec": {"clusterIP": "10.96.0.3", "ports": [{"port": 1}]},
        },
        {"metadata": {"name": "headless", "namespace": "ns"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
    ]
    env = service_variables(services, "ns", True)
    assert env["MY_DB_SERVICE_HOST"] == "10.96.0.9"
    assert env["MY_DB_PORT_5432_TCP"] == "tcp://10.96.0.9:5432"
    assert env["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not [name for name in env if "OTHER" in name or "HEADLESS" in name]
    assert not [name for name in service_variables(services, "ns", False) if "MY_DB" in name]


def test_a_projected_volume_holds_all_its_sources() -> None:
    volume = {
        "name": "all",
        "projected": {
            "sources": [
                {"configMap": {"name": "conf", "items": [{"key": "key", "path": "c/key"}]}},
                {"secret": {"name": "sec"}},
                {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
            ]
        },
    }
    files = content(pod(None), volume, look_up, {("", 600): "jwt"}, (), (), "n", {})
    assert files == {"c/key": b"v", "password": b"hunter2", "labels": b'a="b"', "token": b"jwt"}
    assert set(needs(volume)) == {("ConfigMap", "conf", False), ("Secret", "sec", False)}


def test_a_volume_whose_source_is_missing_cannot_be_set_up_unless_it_is_optional() -> None:
    with pytest.raises(MountError, match='configmap "none" not found'):
        content(pod(None), {"name": "v", "configMap": {"name": "none"}}, look_up, {}, (), (), "n", {})
    assert (
        content(pod(None), {"name": "v", "configMap": {"name": "none", "optional": True}}, look_up, {}, (), (), "n", {})
        == {}
    )


def test_back_off_starts_at_once_doubles_to_its_maximum_and_is_forgotten() -> None:
    backoff, now, waits = Backoff(), 1000.0, []
    for _ in range(8):
        wait = backoff.wait_s("c", now, now)
        waits.append(wait)
        now += wait
        backoff.advance("c", now)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.wait_s("c", now + 601, now + 601) == 0


def test_a_verdict_takes_as_many_results_as_its_threshold() -> None:
    probe = Probe(LIVENESS, {"failureThreshold": 2})
    assert [probe.record(ok, False) for ok in (True, False, False, False, True)] == [True, False, True, False, True]
    readiness = Probe(READINESS, {"successThreshold": 2, "failureThreshold": 1})
    assert [(readiness.record(ok, False), readiness.result)[1] for ok in (True, True, False, True)] == [
        None,
        True,
        False,
        False,
    ]


def test_a_settled_success_needs_no_more_probing_but_a_failure_does() -> None:
    probe = Probe(READINESS, {"periodSeconds": 5})
    probe.record(False, True)
    assert probe.next_delay_s() == 5
    probe.record(True, True)
    assert probe.next_delay_s() is None
    startup = Probe(STARTUP, {})
    startup.record(True, False)
    assert startup.next_delay_s() is None


@pytest.mark.parametrize(
    ("policy", "own", "rules", "code", "again"),
    [("Always", None, (), 0, True), ("OnFailure", None, (), 0, False), ("OnFailure", None, (), 3, True), ("Never", None, (), 3, False), ("Never", "Always", (), 0, True),
     ("Never", None, ({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}},), 42, True),
     ("Never", None, ({"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [42]}},), 42, False)],
)  # fmt: skip
def test_restart_policies_and_rules_decide_by_exit_code(
    policy: str, own: str | None, rules: tuple[Object, ...], code: int, again: bool
) -> None:
    container = {"name": "c", **({"restartPolicy": own} if own else {}), "restartPolicyRules": list(rules)}
    assert should_restart(pod(None, restartPolicy=policy), "main", container, code) is again


def test_the_node_refuses_what_does_not_fit_and_takes_it_when_there_is_room() -> None:
    admission = Admission(KubeletConfig(capacity={"cpu": "1", "memory": "1Gi", "pods": "2"}))

    def wanting(uid: str, cpu: str) -> Object:
        p = pod({"requests": {"cpu": cpu}})
        p["metadata"]["uid"] = uid
        return p

    assert admission.admit(wanting("a", "700m"), {}) is None
    assert admission.admit(wanting("b", "400m"), {}) == (
        "OutOfcpu",
        "Node didn't have enough resource: cpu, requested: 400, used: 700, capacity: 1000",
    )
    admission.release("a")
    assert admission.admit(wanting("b", "400m"), {}) is None
    assert admission.admit(wanting("c", "1m"), {}) is None
    refusal = admission.admit(wanting("d", "1m"), {})
    assert refusal is not None
    assert refusal[0] == "OutOfpods"


def test_capacities_are_read_and_reservations_taken_off() -> None:
    assert parse_capacity("cpu=2,memory=4Gi,pods=5,example.com/gpu=1") == {
        "cpu": "2",
        "memory": "4Gi",
        "pods": "5",
        "example.com/gpu": "1",
    }
    assert allocatable(
        KubeletConfig(capacity={"cpu": "4", "memory": "8Gi"}, reserved={"cpu": "500m", "memory": "1Gi"})
    ) == {"cpu": "3500m", "memory": "7Gi"}
    for bad in ("cpu", "cpu=x", "=2"):
        with pytest.raises(ValueError):
            parse_capacity(bad)


def test_nodes_have_addresses_of_their_own() -> None:
    count = 6000
    assert len({node_pod_cidr(n) for n in range(count)}) == len({node_ip(n) for n in range(count)}) == count
    assert node_pod_cidr(3) == "10.244.3.0/24"
    assert not [n for n in range(count) if node_pod_cidr(n).startswith("10.96.")]


def test_a_pod_that_stores_more_than_it_may_has_to_go() -> None:
    volumes = [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "free", "emptyDir": {}}]
    p = pod({"limits": {"ephemeral-storage": "4Mi"}}, volumes=volumes)
    mebi = 1 << 20
    assert is_bounded(p)
    assert not is_bounded(pod(None, volumes=volumes[1:]))
    assert excess(p, {"c0": {"ephemeral-storage": mebi}}, {"cache": mebi, "free": mebi}) == ("", "")
    words = 'Usage of EmptyDir volume "cache" exceeds the limit "1Mi". '
    assert excess(p, {}, {"cache": mebi + 1}) == (words, "emptydirfs.limit")
    words = "Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. "
    assert excess(p, {"c0": {"ephemeral-storage": mebi}}, {"free": 4 * mebi}) == (words, "ephemeralpodfs.limit")
    two = pod({"limits": {"ephemeral-storage": "1Mi"}}, None)
    words = 'Container c0 exceeded its local ephemeral storage limit "1Mi". '
    assert excess(two, {"c0": {"ephemeral-storage": 2 * mebi}}, {}) == (words, "ephemeralcontainerfs.limit")
