"""Changes to a rule set: what they cost and that they add up to the whole."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.network._config import ProxyConfig
from actors.network._ruleset import Delta, RuleSet

CONFIG = ProxyConfig(
    node_name="n", node_ip="192.168.0.2", local_match=("-s", "10.244.0.0/16"), large_cluster_endpoints=6
)
NAMES = ["a", "b", "c"]


def service(name: str, node_port: int, local: bool) -> dict[str, Any]:
    spec = {
        "clusterIP": f"10.96.0.{NAMES.index(name) + 1}",
        "type": "NodePort" if node_port else "ClusterIP",
        "ports": [{"port": 80, "protocol": "TCP", "nodePort": node_port}],
        "externalTrafficPolicy": "Local" if local else "Cluster",
    }
    return {"metadata": {"namespace": "d", "name": name}, "spec": spec}


def endpoint_slice(name: str, of: str, hosts: list[int], ready: bool) -> dict[str, Any]:
    endpoints = [
        {"addresses": [f"10.244.0.{h}"], "nodeName": "n" if h % 2 else "m", "conditions": {"ready": ready}}
        for h in hosts
    ]
    labels = {"kubernetes.io/service-name": of}
    return {
        "metadata": {"namespace": "d", "name": name, "labels": labels},
        "endpoints": endpoints,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    }


CHANGES = st.one_of(
    st.tuples(st.just("service"), st.sampled_from(NAMES), st.sampled_from([0, 30001]), st.booleans()),
    st.tuples(st.just("no service"), st.sampled_from(NAMES)),
    st.tuples(
        st.just("slice"),
        st.sampled_from(["s1", "s2", "s3"]),
        st.sampled_from(NAMES),
        st.lists(st.integers(1, 9), max_size=5),
        st.booleans(),
    ),
    st.tuples(st.just("no slice"), st.sampled_from(["s1", "s2", "s3"])),
)


def change(rules: RuleSet, step: tuple[Any, ...]) -> Delta:
    verb, name, *rest = step
    if verb == "service":
        return rules.set_service(service(name, *rest))
    if verb == "no service":
        return rules.delete_service("d", name)
    if verb == "slice":
        return rules.set_slice(endpoint_slice(name, *rest))
    return rules.delete_slice("d", name)


def as_sets(tables: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, Any]]:
    """Shared chains hold rules of several ports in no meaningful order; own chains are ordered."""
    return {
        t: {
            c: sorted(r) if not c.startswith(("KUBE-S", "KUBE-EXT-")) or c == "KUBE-SERVICES" else r
            for c, r in chains.items()
        }
        for t, chains in tables.items()
    }


def apply(tables: dict[str, dict[str, list[str]]], delta: Delta) -> None:
    for table, chain, rule in delta.removed:
        tables[table][chain].remove(rule)
    for table, chain, rule in delta.added:
        tables[table][chain].insert(0, rule)
    for chain, body in delta.nat.items():
        if body is None:
            del tables["nat"][chain]
        else:
            tables["nat"][chain] = list(body)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHANGES, max_size=12))
def test_deltas_add_up_to_the_rules_computed_at_once(steps: list[tuple[Any, ...]]) -> None:
    rules = RuleSet(CONFIG)
    tables = rules.tables()
    for step in steps:
        apply(tables, change(rules, step))
    assert as_sets(tables) == as_sets(rules.tables())
    assert tables["nat"]["KUBE-SERVICES"][-1].endswith("-j KUBE-NODEPORTS")


@settings(max_examples=60, deadline=None)
@given(st.lists(CHANGES, max_size=10))
def test_nothing_stale_is_left_behind(steps: list[tuple[Any, ...]]) -> None:
    rules = RuleSet(CONFIG)
    for step in steps:
        change(rules, step)
    for name in NAMES:
        rules.delete_service("d", name)
    for name in ("s1", "s2", "s3"):
        rules.delete_slice("d", name)
    assert rules.text() == RuleSet(CONFIG).text()


def test_an_endpoint_change_writes_only_its_own_chains() -> None:
    rules = RuleSet(CONFIG)
    for name in NAMES:
        rules.set_service(service(name, 30001, False))
        rules.set_slice(endpoint_slice(f"s-{name}", name, [1], True))
    delta = rules.set_slice(endpoint_slice("s-a", "a", [1, 2], True))
    assert not delta.added
    assert not delta.removed
    assert sorted(c[:9] for c in delta.nat) == ["KUBE-SEP-", "KUBE-SVC-"]
    text = delta.restore_text()
    assert text.startswith("*nat\n:KUBE-")
    assert text.endswith("COMMIT\n")
    assert "KUBE-SERVICES" not in text


def test_setting_the_same_objects_again_changes_nothing() -> None:
    rules = RuleSet(CONFIG)
    for _ in range(2):
        first = (
            rules.set_service(service("a", 30001, True)),
            rules.set_slice(endpoint_slice("s", "a", [1, 2], True)),
        )
    assert not any(first)


def test_pods_of_nodes_on_the_same_machine_are_local() -> None:
    endpoint_slice = {
        "metadata": {"namespace": "d", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [{"name": "", "port": 8080}],
        "endpoints": [{"addresses": [f"10.244.{n}.2"], "nodeName": f"node-{n}"} for n in range(3)],
    }
    spec = {"clusterIP": "10.96.0.9", "internalTrafficPolicy": "Local", "ports": [{"port": 80}]}
    found = {}
    for neighbours in ((), ("node-1",)):
        rules = RuleSet(ProxyConfig(node_name="node-0", neighbours=neighbours))
        rules.set_slice(endpoint_slice)
        rules.set_service({"metadata": {"namespace": "d", "name": "web"}, "spec": spec})
        found[neighbours] = [ip for ip in ("10.244.0.2", "10.244.1.2", "10.244.2.2") if f"{ip}:8080" in rules.text()]
    assert found == {(): ["10.244.0.2"], ("node-1",): ["10.244.0.2", "10.244.1.2"]}
