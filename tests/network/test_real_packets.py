"""kube-proxy's rules in a real kernel, with real packets between namespaces."""

from __future__ import annotations

import math
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec
import pytest

from actors.kernel import Child, LiveSystem
from actors.network._config import ProxyConfig
from actors.network._ruleset import Delta, RuleSet
from actors.network.applier import Apply, Check, CleanUp, Install, IptablesApplier, NftApplier, all_jumps
from actors.network.nftables import rules_for

NODE_PORT = 30080
SERVICE_IP = {"IPv4": "10.96.0.9", "IPv6": "fd00:96::9"}
BALANCER_IP = {"IPv4": "203.0.113.7", "IPv6": "2001:db8::7"}


NFT_TABLE = {"IPv4": ("ip", "kube-proxy"), "IPv6": ("ip6", "kube-proxy")}


@pytest.fixture(scope="module", params=["IPv4", "IPv6"])
def lab(lab: Any, request: pytest.FixtureRequest) -> Any:
    """The lab of each address family."""
    return lab if request.param == "IPv4" else request.getfixturevalue("lab6")


def family(lab: Any) -> str:
    return "IPv6" if ":" in lab.plan.node else "IPv4"


def program(lab: Any) -> str:
    return "iptables" if family(lab) == "IPv4" else "ip6tables"


def config_of(lab: Any, backend: str) -> ProxyConfig:
    nftables = backend == "nftables"
    return ProxyConfig(
        node_name="node",
        family=family(lab),
        node_ip=lab.plan.node,
        local_match=("-s", lab.plan.cluster),
        mode="nftables" if nftables else "iptables",
        node_port_ips=(lab.plan.node,) if nftables else None,
        localhost_node_ports=not nftables and family(lab) == "IPv4",
    )


class Proxy:
    """A rule set whose changes are applied in the lab's node."""

    def __init__(self, lab: Any, system: LiveSystem, backend: str) -> None:
        self.lab, self.backend = lab, backend
        netns = lab.node.path
        self.ip = SERVICE_IP[family(lab)]
        self.rules: RuleSet = rules_for(config_of(lab, backend))
        program = backend.removeprefix("iptables").removeprefix("-")
        make = NftApplier if backend == "nftables" else partial(IptablesApplier, backend=program)
        self.applier = system.spawn(Child("applier", lambda: make(family(lab), netns=netns)))
        self.install()

    def install(self) -> None:
        rules = self.rules
        self.do(Install(rules.restore_text(), tuple(rules.jumps()), rules.sysctls(), rules.udp_fronts()))

    def do(self, message: Any) -> Any:
        return self.applier.ask(message, timeout=20.0)

    def apply(self, *deltas: Delta) -> None:
        stale = tuple(flow for delta in deltas for flow in delta.stale)
        self.do(Apply("".join(delta.restore_text() for delta in deltas), stale))

    def service(self, *pods: str, protocol: str = "TCP", local: tuple[str, ...] = (), **spec: Any) -> None:
        status = spec.pop("status", {})
        port = {"port": 80, "protocol": protocol, "nodePort": NODE_PORT if spec.get("type") != "ClusterIP" else 0}
        spec = {"clusterIP": self.ip, "type": "NodePort", "ports": [port], **spec}
        service = {"metadata": {"namespace": "default", "name": "web"}, "spec": spec, "status": status}
        self.apply(self.rules.set_service(service), self.rules.set_slice(self.slice(pods, protocol, local)))

    def slice(self, pods: tuple[str, ...], protocol: str, local: tuple[str, ...] = ()) -> dict[str, Any]:
        return {
            "metadata": {
                "namespace": "default",
                "name": "web-1",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": family(self.lab),
            "ports": [{"name": "", "port": 8080, "protocol": protocol}],
            "endpoints": [
                {
                    "addresses": [self.lab.ips[pod]],
                    "nodeName": "node" if pod in local else "other",
                    "conditions": {"ready": True},
                }
                for pod in pods
            ],
        }

    def clean_up(self) -> None:
        self.do(CleanUp(all_jumps()))


@pytest.fixture(params=["iptables", "nftables"])
def proxy(lab: Any, live: LiveSystem, request: pytest.FixtureRequest) -> Iterator[Proxy]:
    if request.param == "nftables" and shutil.which("nft") is None:
        pytest.skip("nft is not installed")
    made = Proxy(lab, live, request.param)
    yield made
    made.clean_up()
    lab.node.run("conntrack", "-F", check=False)


def test_node_port_and_cluster_ip_lead_to_a_pod(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-1")
    assert lab.outside.ask(lab.plan.node, NODE_PORT).startswith("pod-1 ")
    assert lab.pods["pod-0"].ask(proxy.ip, 80).startswith("pod-1 ")
    assert lab.node.ask(proxy.ip, 80).startswith("pod-1 ")


def test_pods_see_each_other_and_what_comes_from_outside_is_masqueraded(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-1")
    assert lab.pods["pod-0"].ask(proxy.ip, 80) == f"pod-1 {lab.ips['pod-0']}"
    seen = lab.outside.ask(lab.plan.node, NODE_PORT).split()[1]
    assert seen == lab.plan.gateway, "the node's own address towards the pod"


def test_a_pod_reaches_itself_by_its_service(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-1")
    assert lab.pods["pod-1"].ask(proxy.ip, 80) == f"pod-1 {lab.plan.gateway}"


def test_load_spreads_evenly(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0", "pod-1", "pod-2")
    times = 300
    counts = lab.outside.who(lab.plan.node, NODE_PORT, times)
    assert set(counts) == {"pod-0", "pod-1", "pod-2"}
    deviation = math.sqrt(times * (1 / 3) * (2 / 3))
    assert all(abs(n - times / 3) < 5 * deviation for n in counts.values()), counts  # one run in 1,700,000 fails


def test_affinity_keeps_a_client_at_one_pod(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0", "pod-1", "pod-2", sessionAffinity="ClientIP")
    assert len(lab.pods["pod-0"].who(proxy.ip, 80, 15)) == 1
    assert len(lab.outside.who(lab.plan.node, NODE_PORT, 15)) == 1


def test_external_policy_local_keeps_the_client_address_and_drops_without_local_pods(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0", "pod-1", local=("pod-1",), externalTrafficPolicy="Local")
    assert {lab.outside.ask(lab.plan.node, NODE_PORT) for _ in range(8)} == {f"pod-1 {lab.plan.outside}"}
    proxy.service("pod-0", externalTrafficPolicy="Local")
    assert lab.outside.ask(lab.plan.node, NODE_PORT, timeout_s=0.4) == "lost"
    assert lab.pods["pod-2"].ask(lab.plan.node, NODE_PORT).startswith("pod-0 "), "pods are short-cut to all endpoints"


def test_internal_policy_local_uses_the_nodes_own_pods(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0", "pod-1", local=("pod-0",), internalTrafficPolicy="Local")
    assert set(lab.pods["pod-2"].who(proxy.ip, 80, 8)) == {"pod-0"}
    proxy.service("pod-1", internalTrafficPolicy="Local")
    assert lab.pods["pod-2"].ask(proxy.ip, 80, timeout_s=0.4) == "lost"


def test_source_ranges_guard_the_balancers_address(lab: Any, proxy: Proxy) -> None:
    balancer, bits = BALANCER_IP[family(lab)], 32 if family(lab) == "IPv4" else 128
    lab.outside.run("ip", "route", "replace", f"{balancer}/{bits}", "via", lab.plan.node)
    status = {"loadBalancer": {"ingress": [{"ip": balancer}]}}
    balanced = {"type": "LoadBalancer", "status": status}
    proxy.service("pod-1", **balanced, loadBalancerSourceRanges=[f"{lab.plan.outside}/{bits}"])
    assert lab.outside.ask(balancer, 80).startswith("pod-1 ")
    proxy.service("pod-1", **balanced, loadBalancerSourceRanges=["198.51.100.0/24", "2001:db8:1::/48"])
    assert lab.outside.ask(balancer, 80, timeout_s=0.4) == "lost"
    assert lab.outside.ask(lab.plan.node, NODE_PORT).startswith("pod-1 "), "node ports are not guarded"


def test_without_endpoints_a_client_is_refused_at_once(lab: Any, proxy: Proxy) -> None:
    # over IPv6 the TCP of some kernels goes on trying in spite of what it is told
    protocol = "tcp" if family(lab) == "IPv4" else "udp"
    proxy.service(protocol=protocol.upper())
    assert lab.pods["pod-0"].ask(proxy.ip, 80, protocol) == "refused"
    assert lab.outside.ask(lab.plan.node, NODE_PORT, protocol) == "refused"


def test_a_connection_outlives_its_endpoint_in_the_rules(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0")
    talk = lab.pods["pod-2"].connect(proxy.ip, 80)
    assert talk.ask().startswith("pod-0 ")
    proxy.service("pod-1")
    assert talk.ask().startswith("pod-0 "), "the pod that drains still answers"
    assert lab.pods["pod-2"].ask(proxy.ip, 80).startswith("pod-1 "), "new connections go to the other one"
    talk.close()


def test_udp_clients_are_led_away_from_an_endpoint_that_has_gone(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0", protocol="UDP")
    talk = lab.pods["pod-2"].connect(proxy.ip, 80, "udp")
    assert talk.ask().startswith("pod-0 ")
    proxy.service("pod-1", protocol="UDP")
    assert talk.ask().startswith("pod-1 "), "the very same socket"
    talk.close()


def test_udp_clients_who_asked_too_early_are_served_later(lab: Any, proxy: Proxy) -> None:
    talk = lab.pods["pod-2"].connect(proxy.ip, 80, "udp")
    talk.socket.settimeout(0.2)
    with pytest.raises(OSError):
        talk.ask()
    proxy.service("pod-0", protocol="UDP")
    talk.socket.settimeout(1.0)
    assert talk.ask().startswith("pod-0 ")
    talk.close()


def test_flushed_tables_are_noticed_and_written_again(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-1")
    lab.node.run(*(("nft", "flush", "ruleset") if proxy.backend == "nftables" else (program(lab), "-t", "nat", "-F")))
    assert proxy.do(Check()) is False
    proxy.do(Install(proxy.rules.restore_text(), tuple(proxy.rules.jumps())))
    assert proxy.do(Check()) is True
    assert lab.outside.ask(lab.plan.node, NODE_PORT).startswith("pod-1 ")


def test_cleaning_up_removes_everything(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-0", "pod-1", type="LoadBalancer", sessionAffinity="ClientIP")
    proxy.clean_up()
    for table in ("nat", "filter", "mangle"):
        assert "KUBE" not in lab.node.run(f"{program(lab)}-save", "-t", table)
    assert "kube-proxy" not in lab.node.run("nft", "list", "ruleset", check=False)


def test_the_older_iptables_does_too(lab: Any, live: LiveSystem) -> None:
    if shutil.which("iptables-legacy-restore") is None or family(lab) == "IPv6":
        pytest.skip("iptables-legacy is not installed")
    if not lab.node.run("iptables-legacy-save", "-t", "nat", check=False):
        lab.node.run("iptables-legacy", "-t", "nat", "-S", check=False)  # makes the kernel load the table
    proxy = Proxy(lab, live, "iptables-legacy")
    proxy.service("pod-0", "pod-1", sessionAffinity="ClientIP")
    assert lab.outside.ask(lab.plan.node, NODE_PORT).split()[0] in ("pod-0", "pod-1")
    assert "KUBE-SVC" in lab.node.run("iptables-legacy-save", "-t", "nat")
    proxy.clean_up()
    assert lab.outside.ask(lab.plan.node, NODE_PORT) == "refused"
    assert "KUBE" not in lab.node.run("iptables-legacy-save")


def test_a_proxy_that_starts_forgets_flows_to_endpoints_that_went_meanwhile(lab: Any, proxy: Proxy) -> None:
    if shutil.which("conntrack") is None:
        pytest.skip("conntrack is not installed")
    proxy.service("pod-0", protocol="UDP")
    talk = lab.pods["pod-2"].connect(proxy.ip, 80, "udp")
    assert talk.ask().startswith("pod-0 ")
    proxy.rules.set_slice(proxy.slice(("pod-1",), "UDP"))  # nobody writes this, and nobody cleans up
    proxy.install()
    assert talk.ask().startswith("pod-1 "), "the very same socket"
    talk.close()


def test_sctp_is_led_as_well(lab: Any, proxy: Proxy) -> None:
    try:
        lab.pods["pod-0"].inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP)).close()
    except OSError as error:
        # the rules at least are taken
        proxy.service("pod-0", protocol="SCTP")
        pytest.skip(f"this kernel has no SCTP: {error}")
    proxy.service("pod-0", protocol="SCTP")
    assert lab.pods["pod-2"].ask(proxy.ip, 80, "sctp").startswith("pod-0 ")
    assert lab.outside.ask(lab.plan.node, NODE_PORT, "sctp").startswith("pod-0 ")


def test_node_ports_are_on_every_address_of_the_node(lab: Any, proxy: Proxy) -> None:
    proxy.service("pod-1")
    if proxy.backend == "nftables":
        assert lab.pods["pod-0"].ask(lab.plan.gateway, NODE_PORT) == "refused", "the primary address alone"
    else:
        assert lab.pods["pod-0"].ask(lab.plan.gateway, NODE_PORT).startswith("pod-1 ")


def test_addresses_of_the_service_range_that_nobody_has_lead_nowhere(lab: Any, proxy: Proxy) -> None:
    if proxy.backend != "nftables":
        pytest.skip("upstream's rules for iptables do not know the range")
    ranges = {"IPv4": "10.96.0.0/16", "IPv6": "fd00:96::/112"}
    proxy.rules.reconfigure(msgspec.structs.replace(proxy.rules.config, service_cidrs=(ranges[family(lab)],)))
    proxy.install()
    proxy.service("pod-1")
    free = proxy.ip + "0"
    assert lab.pods["pod-0"].ask(proxy.ip, 80).startswith("pod-1 ")
    assert lab.pods["pod-0"].ask(free, 80, timeout_s=0.3) == "lost"
    found = lab.node.run("nft", "list", "chain", *NFT_TABLE[family(lab)], "cluster-ips-check")
    assert 'drop comment "Drop traffic to unallocated ClusterIPs"' in found


def test_local_processes_reach_node_ports_by_loopback(lab: Any, proxy: Proxy) -> None:
    if proxy.backend == "nftables" or family(lab) == "IPv6":
        pytest.skip("upstream does not serve node ports on loopback addresses in this mode or family")
    proxy.service("pod-1")
    assert lab.node.ask("127.0.0.1", NODE_PORT).startswith("pod-1 ")


def test_each_step_of_a_service_changes_the_kernel(lab: Any, proxy: Proxy) -> None:
    ask: Callable[[], str] = lambda: lab.pods["pod-2"].ask(proxy.ip, 80, timeout_s=0.3).split()[0]  # noqa: E731
    steps = [ask()]
    proxy.service("pod-0")
    steps.append(ask())
    proxy.service("pod-1", clusterIP=proxy.ip, type="ClusterIP")
    steps.append(ask())
    steps.append(lab.outside.ask(lab.plan.node, NODE_PORT, timeout_s=0.3))
    proxy.apply(proxy.rules.delete_service("default", "web"))
    steps.append(ask())
    assert steps == ["lost", "pod-0", "pod-1", "refused", "lost"]
