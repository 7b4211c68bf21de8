"""The resolver that the kubelet asks the runtime to give a pod."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._starting import Starting
from protocol.resolv import ResolvConf


def dns(
    said: list[Any] | None = None, config: KubeletConfig | None = None, **spec: Any
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    pod = {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    events = [] if said is None else said
    worker: Any = SimpleNamespace(
        pod=pod,
        namespace="shop",
        uid="u",
        node=SimpleNamespace(config=config or KubeletConfig()),
        record=lambda *event: events.append(event),
    )
    return Starting._dns(worker)


def test_a_pods_option_overrides_the_clusters_and_is_not_there_twice() -> None:
    config = {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}
    assert dns(dnsConfig=config)[2] == ("ndots:2", "edns0")


def test_a_resolver_has_no_more_servers_and_search_domains_than_it_may() -> None:
    config = {"nameservers": [f"1.1.1.{i}" for i in range(9)], "searches": [f"d{i}" for i in range(40)]}
    said: list[Any] = []
    servers, search, _ = dns(said, dnsConfig=config)
    assert servers == ("10.96.0.10", "1.1.1.0", "1.1.1.1")
    assert len(search) == 32
    assert [(kind, reason, text.split(",")[0]) for kind, reason, text in said] == [
        ("Warning", "DNSConfigForming", "Nameserver limits were exceeded"),
        ("Warning", "DNSConfigForming", "Search Line limits were exceeded"),
    ]


def test_what_the_pod_repeats_is_written_once() -> None:
    config = {"nameservers": ["10.96.0.10"], "searches": ["cluster.local"]}
    servers, search, _ = dns(dnsConfig=config)
    assert servers == ("10.96.0.10",)
    assert search == ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")


def test_a_pod_in_the_nodes_network_has_the_clusters_dns_only_when_it_says_so() -> None:
    assert dns(hostNetwork=True) == ((), (), ())
    assert dns(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")[0] == ("10.96.0.10",)


def test_a_pod_with_the_policy_default_has_the_nodes_resolver_and_others_its_search_list() -> None:
    config = KubeletConfig(resolv_conf=ResolvConf(("9.9.9.9",), ("corp.example",), ("rotate",)))
    assert dns(None, config, dnsPolicy="Default") == (("9.9.9.9",), ("corp.example",), ("rotate",))
    assert dns(None, config)[1] == ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example")
    assert dns(None, config, hostNetwork=True)[0] == ("9.9.9.9",)


def test_without_a_cluster_dns_pods_fall_back_to_the_nodes_and_are_told() -> None:
    said: list[Any] = []
    config = KubeletConfig(cluster_dns=(), resolv_conf=ResolvConf(("9.9.9.9",)))
    assert dns(said, config)[0] == ("9.9.9.9",)
    ((kind, reason, text),) = said
    assert (kind, reason) == ("Warning", "MissingClusterDNS")
    assert text.startswith('pod: "p_shop(u)". kubelet does not have ClusterDNS IP configured and cannot create Pod')
