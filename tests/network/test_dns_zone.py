"""The names of a cluster."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.network.dns import ResolvConf, Zone, candidates

Object = dict[str, Any]


def service(name: str = "web", namespace: str = "default", **spec: Any) -> Object:
    base: Object = {
        "clusterIP": "10.96.0.9",
        "clusterIPs": ["10.96.0.9"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {**base, **spec}}


def slice_of(*ips: str, service: str = "web", name: str = "web-1", hostname: str = "", ready: bool = True) -> Object:
    endpoints = [
        {"addresses": [ip], "conditions": {"ready": ready}, **({"hostname": hostname} if hostname else {})}
        for ip in ips
    ]
    return {
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    }


@pytest.fixture
def zone() -> Zone:
    found = Zone()
    found.set_namespace("default")
    return found


def data(zone: Zone, name: str, kind: str = "A") -> tuple[str, list[str]]:
    answer = zone.lookup(name, kind)
    return answer.code, [r.data for r in answer.records]


def test_a_service_has_its_cluster_ip_and_no_other_family(zone: Zone) -> None:
    zone.set_service(service())
    assert data(zone, "web.default.svc.cluster.local") == ("NOERROR", ["10.96.0.9"])
    assert data(zone, "WEB.default.svc.Cluster.local.") == ("NOERROR", ["10.96.0.9"])
    assert data(zone, "web.default.svc.cluster.local", "AAAA") == ("NOERROR", [])
    assert data(zone, "nope.default.svc.cluster.local") == ("NXDOMAIN", [])


def test_a_dual_stack_service_has_both(zone: Zone) -> None:
    zone.set_service(service(clusterIPs=["10.96.0.9", "fd00::9"]))
    assert data(zone, "web.default.svc.cluster.local", "AAAA") == ("NOERROR", ["fd00::9"])


def test_named_ports_have_srv_records(zone: Zone) -> None:
    zone.set_service(service())
    answer = zone.lookup("_http._tcp.web.default.svc.cluster.local", "SRV")
    assert [r.data for r in answer.records] == ["0 100 80 web.default.svc.cluster.local."]
    assert [(r.name, r.data) for r in answer.additional] == [("web.default.svc.cluster.local.", "10.96.0.9")]
    assert data(zone, "_https._tcp.web.default.svc.cluster.local", "SRV")[0] == "NXDOMAIN"


def test_addresses_are_found_backwards_until_the_service_goes(zone: Zone) -> None:
    zone.set_service(service())
    assert data(zone, "9.0.96.10.in-addr.arpa", "PTR") == ("NOERROR", ["web.default.svc.cluster.local."])
    zone.delete_service("default", "web")
    assert zone.lookup("9.0.96.10.in-addr.arpa", "PTR").code == "REFUSED", "not the cluster's to answer"


def test_a_headless_service_names_its_ready_endpoints(zone: Zone) -> None:
    zone.set_service(service(clusterIP="None", clusterIPs=["None"]))
    assert data(zone, "web.default.svc.cluster.local")[0] == "NXDOMAIN"
    zone.set_slice(slice_of("10.244.1.5", hostname="db-0"))
    zone.set_slice(slice_of("10.244.1.6", name="web-2"))
    zone.set_slice(slice_of("10.244.1.7", name="web-3", ready=False))
    assert data(zone, "web.default.svc.cluster.local") == ("NOERROR", ["10.244.1.5", "10.244.1.6"])
    assert data(zone, "db-0.web.default.svc.cluster.local") == ("NOERROR", ["10.244.1.5"])
    assert data(zone, "10-244-1-6.web.default.svc.cluster.local") == ("NOERROR", ["10.244.1.6"])
    assert data(zone, "5.1.244.10.in-addr.arpa", "PTR") == ("NOERROR", ["db-0.web.default.svc.cluster.local."])
    targets = data(zone, "_http._tcp.web.default.svc.cluster.local", "SRV")[1]
    assert targets == [
        "0 50 8080 db-0.web.default.svc.cluster.local.",
        "0 50 8080 10-244-1-6.web.default.svc.cluster.local.",
    ]


def test_an_external_name_is_an_alias(zone: Zone) -> None:
    zone.set_service(service(type="ExternalName", externalName="example.com", clusterIP=None, clusterIPs=None))
    answer = zone.lookup("web.default.svc.cluster.local", "A")
    assert [(r.type, r.data) for r in answer.records] == [("CNAME", "example.com.")]


def test_pods_have_names_made_of_their_address(zone: Zone) -> None:
    assert data(zone, "10-244-1-5.default.pod.cluster.local") == ("NOERROR", ["10.244.1.5"])
    assert data(zone, "10-244-1-5.nowhere.pod.cluster.local")[0] == "NXDOMAIN"
    assert data(zone, "10-244-1.default.pod.cluster.local")[0] == "NXDOMAIN"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("cluster.local", "NOERROR"),
        ("svc.cluster.local", "NOERROR"),
        ("default.svc.cluster.local", "NOERROR"),
        ("nowhere.svc.cluster.local", "NXDOMAIN"),
        ("x.cluster.local", "NXDOMAIN"),
        ("example.com", "REFUSED"),
    ],
)
def test_names_between_are_there_without_records(zone: Zone, name: str, code: str) -> None:
    assert zone.lookup(name, "A").code == code


def test_the_version_of_the_specification_is_told(zone: Zone) -> None:
    assert data(zone, "dns-version.cluster.local", "TXT") == ("NOERROR", ['"1.1.0"'])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(1, 3)), max_size=12))
def test_what_was_deleted_leaves_no_name_behind(steps: list[tuple[str, bool, int]]) -> None:
    zone = Zone()
    for name, headless, host in steps:
        ip = "None" if headless else f"10.96.0.{host}"
        zone.set_service(service(name, clusterIP=ip, clusterIPs=[ip]))
        zone.set_slice(slice_of(f"10.244.0.{host}", service=name, name=f"{name}-1", hostname=f"h{host}"))
    for name, _, host in steps:
        zone.delete_service("default", name)
        zone.delete_slice(slice_of(f"10.244.0.{host}", service=name, name=f"{name}-1"))
    assert zone._services == {}
    assert zone._reverse == {}


def test_a_negative_answer_carries_the_soa_and_a_positive_one_does_not(zone: Zone) -> None:
    zone.set_service(service())
    for name, kind in (("nope.default.svc.cluster.local", "A"), ("web.default.svc.cluster.local", "AAAA")):
        (soa,) = zone.lookup(name, kind).authority
        assert (soa.name, soa.type, soa.ttl_s) == ("cluster.local.", "SOA", 30)
        assert soa.data.split()[:2] == ["ns.dns.cluster.local.", "hostmaster.cluster.local."]
    assert zone.lookup("web.default.svc.cluster.local", "A").authority == ()
    assert zone.lookup("example.com", "A").authority == (), "not our zone"


def test_the_serial_of_the_zone_grows_with_changes(zone: Zone) -> None:
    def serial() -> int:
        return int(zone.lookup("cluster.local", "SOA").records[0].data.split()[2])

    before = serial()
    zone.set_service(service())
    assert serial() > before


def test_the_zones_name_server_is_kube_dns(zone: Zone) -> None:
    assert data(zone, "cluster.local", "NS") == ("NOERROR", [])
    zone.set_service(service("kube-dns", "kube-system", clusterIPs=["10.96.0.10"]))
    answer = zone.lookup("cluster.local", "NS")
    assert [r.data for r in answer.records] == ["kube-dns.kube-system.svc.cluster.local."]
    assert [(r.type, r.data) for r in answer.additional] == [("A", "10.96.0.10")]
    assert data(zone, "ns.dns.cluster.local") == ("NOERROR", ["10.96.0.10"])


def test_an_address_with_a_hostname_leads_back_to_it_whatever_its_service(zone: Zone) -> None:
    zone.set_service(service())
    zone.set_slice(slice_of("10.244.0.5", hostname="db-0"))
    assert data(zone, "5.0.244.10.in-addr.arpa", "PTR") == ("NOERROR", ["db-0.web.default.svc.cluster.local."])
    assert data(zone, "9.0.96.10.in-addr.arpa", "PTR") == ("NOERROR", ["web.default.svc.cluster.local."])


def test_a_nodes_file_is_read_as_the_kubelet_reads_it() -> None:
    text = "# made by hand\n; so\nnameserver 1.1.1.1\nnameserver  8.8.8.8\nnameserver\nsearch old\nsearch a.example. .\noptions ndots:1\noptions edns0 rotate\n"
    assert ResolvConf.parse(text) == ResolvConf(("1.1.1.1", "8.8.8.8"), ("a.example", "."), ("edns0", "rotate"))
    assert ResolvConf.parse("") == ResolvConf()


def test_what_does_not_fit_is_left_out_and_told() -> None:
    config = {"nameservers": [f"1.1.1.{n}" for n in range(3)], "searches": [f"d{n}.{'x' * 100}" for n in range(31)]}
    conf, said = ResolvConf.formed({**POD, "spec": {"dnsConfig": config}}, ["10.96.0.10"])
    assert len(conf.nameservers) == 3
    assert 1900 < len(" ".join(conf.search)) <= 2048
    assert said == (
        "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
        "10.96.0.10 1.1.1.0 1.1.1.1",
        f"Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {' '.join(conf.search)}",
    )
    long = {"dnsConfig": {"searches": ["a" * 254, "short"]}}
    conf, said = ResolvConf.formed({**POD, "spec": long}, ["10.96.0.10"])
    assert conf.search[-1] == "short"
    assert len(said) == 1
    assert ResolvConf.formed(POD, ["10.96.0.10"])[1] == ()


POD: Object = {"metadata": {"namespace": "shop"}, "spec": {"dnsPolicy": "ClusterFirst"}}


def test_resolv_conf_of_an_ordinary_pod() -> None:
    conf = ResolvConf.for_pod(POD, ["10.96.0.10"], host=ResolvConf(("8.8.8.8",), ("corp.example",)))
    assert conf.text() == (
        "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\n"
        "nameserver 10.96.0.10\n"
        "options ndots:5\n"
    )


def test_a_pod_may_add_to_and_override_its_resolver() -> None:
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["x.y"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    pod = {**POD, "spec": {"dnsPolicy": "None", "dnsConfig": config}}
    assert ResolvConf.for_pod(pod, ["10.96.0.10"]).text() == "search x.y\nnameserver 1.1.1.1\noptions ndots:2 edns0\n"
    pod = {**POD, "spec": {"dnsConfig": config}}
    conf = ResolvConf.for_pod(pod, ["10.96.0.10"])
    assert conf.nameservers == ("10.96.0.10", "1.1.1.1")
    assert conf.ndots == 2


def test_a_pod_in_the_nodes_network_uses_the_nodes_resolver() -> None:
    host = ResolvConf(("8.8.8.8",))
    assert ResolvConf.for_pod({**POD, "spec": {"hostNetwork": True}}, ["10.96.0.10"], host=host) == host


@pytest.mark.parametrize(
    ("name", "first", "count"),
    [
        ("web", "web.shop.svc.cluster.local.", 4),
        ("web.shop", "web.shop.shop.svc.cluster.local.", 4),
        ("a.b.c.d.e.f", "a.b.c.d.e.f.", 4),
        ("example.com.", "example.com.", 1),
    ],
)
def test_the_search_list_comes_first_for_names_with_few_dots(name: str, first: str, count: int) -> None:
    tried = candidates(name, ResolvConf.for_pod(POD, ["10.96.0.10"]))
    assert (tried[0], len(tried)) == (first, count)
