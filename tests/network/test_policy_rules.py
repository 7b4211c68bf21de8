"""NetworkPolicies as packet rules: the simulated netfilter and the kernel judge as the policies say."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.kernel import Child, LiveSystem, Simulation
from actors.network.applier import Apply, Check, CleanUp, Install, PolicyApplier
from actors.network.netfilter import Packet, Tables, Walker
from actors.network.policy import End, Policies
from actors.network.policy_rules import JUMPS, PolicyRules

OUTSIDE_IP, GATEWAY = "192.168.77.100", "10.244.1.1"
NAMESPACES = {"a": {"team": "x"}, "b": {"team": "y"}}
PORTS = (8080, 9090)


def pod(name: str, ip: str, namespace: str = "a", **labels: str) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9090}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]},
    }


def policy(name: str, namespace: str = "a", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def rules_of(pods: list[Any], policies: list[Any], family: str = "IPv4") -> PolicyRules:
    rules = PolicyRules("node", family)
    rules.pods = {f"{p['metadata']['namespace']}/{p['metadata']['name']}": p for p in pods}
    rules.policies = {f"{p['metadata']['namespace']}/{p['metadata']['name']}": p for p in policies}
    rules.namespaces = {name: {"metadata": {"name": name, "labels": found}} for name, found in NAMESPACES.items()}
    return rules


def walker(rules: PolicyRules) -> Walker:
    tables = Tables()
    tables.restore(rules.restore_text(), noflush=True)
    for table, chain, rule in JUMPS:
        tables.restore(f"*{table}\n-I {chain} {rule}\nCOMMIT\n", noflush=True)
    return Walker(tables, (GATEWAY, "192.168.77.2"), rng=random.Random(0), now=lambda: 0.0)


def passes(rules: PolicyRules, src: str, dst: str, port: int, protocol: str = "tcp") -> bool:
    return walker(rules).forward(Packet(src, dst, protocol, dport=port, in_interface="cni0")).verdict == "ACCEPT"


def judged(rules: PolicyRules, src: str, dst: str, port: int, protocol: str = "tcp") -> bool:
    """What the meaning of the policies says."""
    policies = Policies(rules.policies.values(), rules.namespaces.values())
    by_ip = {p["status"]["podIP"]: p for p in rules.pods.values()}
    source, target = End(src, by_ip.get(src)), End(dst, by_ip.get(dst))
    leaving = policies.egress(source, target, protocol, port)
    return leaving.allowed and policies.ingress(target=target, source=source, protocol=protocol, port=port).allowed


A, B, C = "10.244.1.2", "10.244.1.3", "10.244.1.4"


def three(*policies: Any) -> PolicyRules:
    pods = [pod("web", A, role="web"), pod("db", B, role="db"), pod("other", C, "b", role="web")]
    return rules_of(pods, list(policies))


def test_without_policies_everything_passes() -> None:
    assert passes(three(), A, B, 8080)
    assert passes(three(), OUTSIDE_IP, A, 8080)


def test_default_deny_lets_nothing_in_but_answers_out() -> None:
    rules = three(policy("deny", policyTypes=["Ingress"]))
    assert not passes(rules, C, A, 8080)
    node = walker(rules)
    assert node.forward(Packet(A, C, dport=80, sport=5000, in_interface="cni0")).verdict == "ACCEPT"
    assert node.forward(Packet(C, A, dport=5000, sport=80, in_interface="cni0")).verdict == "ACCEPT"


def test_a_pod_reaches_itself_whatever_policies_say() -> None:
    assert passes(three(policy("deny", policyTypes=["Ingress", "Egress"])), A, A, 8080)


def test_exceptions_of_a_block_leave_other_rules_alone() -> None:
    blocks = [{"ipBlock": {"cidr": "192.168.0.0/16", "except": ["192.168.77.0/24"]}}]
    rules = three(policy("p", ingress=[{"from": blocks}, {"ports": [{"port": 9090}]}]))
    assert not passes(rules, OUTSIDE_IP, A, 8080)
    assert passes(rules, OUTSIDE_IP, A, 9090)
    assert passes(rules, "192.168.1.1", A, 8080)


def test_a_named_port_is_what_the_receiving_pod_calls_so() -> None:
    to_db = [{"podSelector": {"matchLabels": {"role": "db"}}}]
    rules = three(policy("p", policyTypes=["Egress"], egress=[{"to": to_db, "ports": [{"port": "http"}]}]))
    assert passes(rules, A, B, 8080)
    assert not passes(rules, A, B, 9090)


def test_chains_of_policies_that_have_gone_are_deleted() -> None:
    rules = three(policy("deny", policyTypes=["Ingress"]))
    tables = Tables()
    tables.restore(rules.restore_text(), noflush=True)
    rules.policies.clear()
    tables.restore(rules.restore_text(), noflush=True)
    assert [c for c in tables.chains["mangle"] if c.startswith("KUBE")] == ["KUBE-NETPOL"]


def test_policies_hold_for_pods_of_all_nodes_on_the_machine() -> None:
    far = pod("far", "10.244.9.9")
    far["spec"]["nodeName"] = "node-2"
    for neighbours, held in (((), False), (("node-2",), True)):
        rules = PolicyRules("node", neighbours=neighbours)
        rules.pods, rules.policies = {"a/far": far}, {"a/deny": policy("deny", policyTypes=["Ingress"])}
        assert ("-d 10.244.9.9" in rules.restore_text()) is held


LABELS = st.sampled_from([{}, {"matchLabels": {"role": "web"}}, {"matchLabels": {"role": "db"}}])
TEAMS = st.sampled_from([{}, {"matchLabels": {"team": "x"}}, {"matchLabels": {"team": "y"}}])
PEER = st.one_of(
    st.fixed_dictionaries({"podSelector": LABELS}),
    st.fixed_dictionaries({"namespaceSelector": TEAMS}),
    st.fixed_dictionaries({"namespaceSelector": TEAMS, "podSelector": LABELS}),
    st.sampled_from(
        [
            {"ipBlock": {"cidr": "192.168.77.0/24"}},
            {"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.244.1.2/31", "192.168.77.100/32"]}},
            {"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.4/32"]}},
        ]
    ),
)
PORT = st.sampled_from(
    [
        {"port": 8080},
        {"port": "admin"},
        {"port": 8000, "endPort": 8999},
        {"protocol": "UDP", "port": 8080},
        {"protocol": "SCTP", "port": 8080},
        {"protocol": "SCTP"},
        {"protocol": "TCP"},
    ]
)


def _rules(whom: str) -> Any:
    rule = st.fixed_dictionaries({}, optional={whom: st.lists(PEER, max_size=2), "ports": st.lists(PORT, max_size=2)})
    return st.lists(rule, max_size=2)


SPEC = st.fixed_dictionaries(
    {"podSelector": LABELS, "policyTypes": st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]])},
    optional={"ingress": _rules("from"), "egress": _rules("to")},
)
POLICIES = st.lists(st.tuples(st.sampled_from("ab"), SPEC), min_size=1, max_size=3)


def _policies(drawn: Any) -> list[Any]:
    return [policy(f"p{i}", namespace, **spec) for i, (namespace, spec) in enumerate(drawn)]


@settings(max_examples=40)
@given(POLICIES)
def test_the_rules_judge_as_the_policies_say(drawn: Any) -> None:
    rules = three(*_policies(drawn))
    for src in (A, B, C, OUTSIDE_IP):
        for dst in (A, B, C, OUTSIDE_IP):
            for port in PORTS:
                for protocol in ("tcp", "udp", "sctp"):
                    if src != dst:
                        expected = judged(rules, src, dst, port, protocol)
                        assert passes(rules, src, dst, port, protocol) is expected, (src, dst, port, protocol)


def _random_spec(rng: random.Random, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    selectors = [{}, {"matchLabels": {"role": "web"}}, {"matchLabels": {"role": "db"}}]
    peers: list[dict[str, Any]] = [
        {"podSelector": selectors[1]},
        {"namespaceSelector": {"matchLabels": {"team": "y"}}},
        {"ipBlock": blocks[0]},
        {"ipBlock": blocks[1]},
    ]
    ports = [{"port": 8080}, {"port": "admin"}, {"port": 8000, "endPort": 8999}, {"protocol": "UDP", "port": 8080}]
    kind = rng.choice((("Ingress", "ingress", "from"), ("Egress", "egress", "to")))
    rule: dict[str, Any] = {kind[2]: rng.sample(peers, rng.randint(1, 2))}
    if rng.random() < 0.6:
        rule["ports"] = rng.sample(ports, rng.randint(1, 2))
    return {
        "podSelector": rng.choice(selectors),
        "policyTypes": [kind[0]],
        kind[1]: [rule] if rng.random() < 0.8 else [],
    }


BLOCKS: dict[str, list[dict[str, Any]]] = {
    "IPv4": [{"cidr": "0.0.0.0/0", "except": ["10.244.1.2/32"]}, {"cidr": "192.168.77.0/24"}],
    "IPv6": [{"cidr": "::/0", "except": ["fd00:244:0:1::2/128"]}, {"cidr": "fd00:77::/64"}],
}


@pytest.fixture(scope="module", params=["IPv4", "IPv6"])
def lab(lab: Any, request: pytest.FixtureRequest) -> Any:
    """The lab of each address family."""
    return lab if request.param == "IPv4" else request.getfixturevalue("lab6")


def family(lab: Any) -> str:
    return "IPv6" if ":" in lab.plan.node else "IPv4"


def program(lab: Any) -> str:
    return "ip6tables" if ":" in lab.plan.node else "iptables"


def pods_of(lab: Any) -> list[Any]:
    web, db, other = lab.pods
    return [
        pod("web", lab.ips[web], role="web"),
        pod("db", lab.ips[db], role="db"),
        pod("other", lab.ips[other], "b", role="web"),
    ]


@pytest.fixture
def applier(lab: Any, live: LiveSystem) -> Any:
    ref = live.spawn(Child("policies", lambda: PolicyApplier(family(lab), netns=lab.node.path)))
    for namespace in lab.pods.values():
        if not any(s.getsockname()[1] == 9090 for s in namespace.sockets if s.fileno() >= 0):
            namespace.serve("pod", 9090)
    yield ref
    ref.ask(CleanUp(JUMPS), timeout=20.0)
    assert "KUBE" not in lab.node.run(f"{program(lab)}-save", "-t", "mangle")


def test_the_kernel_judges_as_the_policies_say(lab: Any, applier: Any) -> None:
    rng = random.Random(7)
    rules = rules_of(pods_of(lab), [], family(lab))
    applier.ask(Install(rules.restore_text(), JUMPS), timeout=20.0)
    outside = lab.plan.outside
    ends = {lab.ips[n]: lab.pods[n] for n in lab.pods} | {outside: lab.outside}
    for _ in range(8):
        drawn = [(rng.choice("ab"), _random_spec(rng, BLOCKS[family(lab)])) for _ in range(rng.randint(1, 3))]
        rules.policies = {f"x/{i}": p for i, p in enumerate(_policies(drawn))}
        applier.ask(Apply(rules.restore_text()), timeout=20.0)
        for _ in range(6):
            src, dst = rng.sample(sorted(ends), 2)
            if dst == outside:
                src, dst = dst, src
            port, protocol = rng.choice(((8080, "tcp"), (9090, "tcp"), (8080, "udp")))
            expected = judged(rules, src, dst, port, protocol)
            seen = ends[src].ask(dst, port, protocol, 0.2 if not expected else 1.0)
            assert (seen != "lost") is expected, f"{src} to {dst}:{port}/{protocol}: {seen}, {drawn}"


def test_a_changed_policy_stops_new_connections_and_lets_old_ones_end(lab: Any, applier: Any) -> None:
    pods = pods_of(lab)
    rules = rules_of(pods, [], family(lab))
    applier.ask(Install(rules.restore_text(), JUMPS), timeout=20.0)
    web, db = (p["status"]["podIP"] for p in pods[:2])
    client = lab.pods["pod-0"]
    talk = client.connect(db, 8080)
    assert talk.ask().startswith("pod-1 ")
    rules.policies = {"a/deny": policy("deny", policyTypes=["Ingress"])}
    applier.ask(Apply(rules.restore_text()), timeout=20.0)
    assert client.ask(db, 8080, timeout_s=0.2) == "lost"
    assert talk.ask().startswith("pod-1 "), "an established connection goes on"
    talk.close()
    allow = [{"from": [{"podSelector": {"matchLabels": {"role": "web"}}}], "ports": [{"port": "http"}]}]
    rules.policies["a/allow"] = policy("allow", policyTypes=["Ingress"], ingress=allow)
    applier.ask(Apply(rules.restore_text()), timeout=20.0)
    assert client.ask(db, 8080).startswith("pod-1 ")
    assert client.ask(db, 9090, timeout_s=0.2) == "lost"
    assert lab.node.ask(db, 9090).startswith("pod "), "a node reaches its pods: probes"
    del rules.policies["a/deny"], rules.policies["a/allow"]
    applier.ask(Apply(rules.restore_text()), timeout=20.0)
    assert client.ask(db, 9090).startswith("pod ")
    assert lab.pods["pod-1"].ask(web, 9090).startswith("pod ")


def test_flushed_policies_are_noticed(lab: Any, applier: Any) -> None:
    applier.ask(Install(rules_of([], []).restore_text(), JUMPS), timeout=20.0)
    assert applier.ask(Check(), timeout=20.0) is True
    lab.node.run(program(lab), "-t", "mangle", "-F")
    assert applier.ask(Check(), timeout=20.0) is False


def test_the_agent_follows_the_api(sim: Simulation) -> None:
    from actors.network.policy_agent import GetPolicyRules, NetworkPolicyAgent
    from cluster import SimulatedCluster

    cluster = SimulatedCluster(nodes=1)
    agent = cluster.sim.spawn(Child("agent", lambda: NetworkPolicyAgent("node-0", cluster.parts.apiserver)))
    container = {"name": "c", "image": "nginx"}
    meta = {"name": "web", "labels": {"role": "web"}}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}})
    cluster.wait("pods/web", "Ready")
    assert "DROP" not in cluster.sim.ask(agent, GetPolicyRules())
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    cluster.apply({**kind, **policy("deny", "default", policyTypes=["Ingress"])})
    cluster.sim.advance(1.0)
    assert "ingress of default/web is not allowed" in cluster.sim.ask(agent, GetPolicyRules())
