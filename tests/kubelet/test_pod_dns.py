"""The resolver that the kubelet asks the runtime to give a pod."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from actors.kubelet._config import KubeletConfig
from actors.kubelet._starting import Starting


def dns(**spec: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    pod = {"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}
    worker: Any = SimpleNamespace(pod=pod, node=SimpleNamespace(config=KubeletConfig()))
    return Starting._dns(worker)


def test_a_pods_option_overrides_the_clusters_and_is_not_there_twice() -> None:
    config = {"options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}
    assert dns(dnsConfig=config)[2] == ("ndots:2", "edns0")


def test_a_resolver_has_no_more_servers_and_search_domains_than_it_may() -> None:
    config = {"nameservers": [f"1.1.1.{i}" for i in range(9)], "searches": [f"d{i}" for i in range(40)]}
    servers, search, _ = dns(dnsConfig=config)
    assert servers == ("10.96.0.10", "1.1.1.0", "1.1.1.1")
    assert len(search) == 32


def test_what_the_pod_repeats_is_written_once() -> None:
    config = {"nameservers": ["10.96.0.10"], "searches": ["cluster.local"]}
    servers, search, _ = dns(dnsConfig=config)
    assert servers == ("10.96.0.10",)
    assert search == ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")


def test_a_pod_in_the_nodes_network_has_the_clusters_dns_only_when_it_says_so() -> None:
    assert dns(hostNetwork=True) == ((), (), ())
    assert dns(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet")[0] == ("10.96.0.10",)
