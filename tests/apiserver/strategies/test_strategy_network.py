"""Services, ingresses, network policies and endpoints."""

from __future__ import annotations

from typing import Any

import pytest


def service(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], **spec}}


def test_a_service_gets_an_address_and_its_family(kit: Any) -> None:
    spec = kit("services").create(service())["spec"]
    assert spec["clusterIP"] == "10.96.0.77"
    assert spec["clusterIPs"] == ["10.96.0.77"]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert spec["ports"][0] == {"protocol": "TCP", "port": 80, "targetPort": 80}


def test_a_headless_service_gets_none(kit: Any) -> None:
    spec = kit("services").create(service(clusterIP="None"))["spec"]
    assert spec["clusterIPs"] == ["None"]


def test_a_node_port_service_gets_a_port_on_the_nodes(kit: Any) -> None:
    spec = kit("services").create(service(type="NodePort"))["spec"]
    assert spec["ports"][0]["nodePort"] == 31999
    assert spec["externalTrafficPolicy"] == "Cluster"


def test_becoming_external_gives_the_address_back(kit: Any) -> None:
    one = kit("services")
    old = one.create(service())

    def external(obj: Any) -> None:
        obj["spec"].update(type="ExternalName", externalName="example.com")

    spec = one.update(old, external)["spec"]
    assert "clusterIP" not in spec
    assert one.context.allocators.used == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"ports": []}, "spec.ports: Required value"),
        ({"ports": [{"port": 1}, {"port": 2}]}, "spec.ports[0].name: Required value"),
        ({"type": "ExternalName"}, "spec.externalName: Required value"),
        ({"sessionAffinity": "Maybe"}, 'spec.sessionAffinity: Unsupported value: "Maybe": supported values: "ClientIP", "None"'),
        ({"clusterIP": "1.2.3"}, "spec.clusterIPs[0]: Invalid value"),
    ],
)
def test_a_wrong_service_is_told_why(kit: Any, spec: Any, expected: str) -> None:
    errors = kit("services").wrong(service(**spec))
    assert any(error.startswith(expected) for error in errors), errors


def test_an_address_is_kept_for_life(kit: Any) -> None:
    one = kit("services")
    old = one.create(service())

    def move(obj: Any) -> None:
        obj["spec"].update(clusterIP="10.96.0.9", clusterIPs=["10.96.0.9"])

    assert one.refused(old, move)[0].endswith("may not change once set")


def test_a_name_of_a_service_is_a_dns_label(kit: Any) -> None:
    body = service()
    body["metadata"]["name"] = "a.b"
    (error,) = kit("services").wrong(body)
    assert error.startswith('metadata.name: Invalid value: "a.b"')


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ({"path": "x", "pathType": "Prefix"}, 'path: Invalid value: "x": must be an absolute path'),
        ({"path": "/a//b", "pathType": "Exact"}, "path: Invalid value: \"/a//b\": must not contain '//'"),
        ({"path": "/"}, "pathType: Required value: pathType must be specified"),
        ({"path": "/", "pathType": "Some"}, 'pathType: Unsupported value: "Some": supported values: "Exact", "ImplementationSpecific", "Prefix"'),
    ],
)
def test_an_ingress_path_is_absolute_and_of_a_known_type(kit: Any, path: Any, expected: str) -> None:
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    rule = {"http": {"paths": [{**path, "backend": backend}]}}
    errors = kit("ingresses").wrong({"metadata": {"name": "i"}, "spec": {"rules": [rule]}})
    assert errors == ["spec.rules[0].http.paths[0]." + expected]


def test_an_ingress_has_one_class(kit: Any) -> None:
    backend = {"service": {"name": "s", "port": {"number": 80}}}
    body = {
        "metadata": {"name": "i", "annotations": {"kubernetes.io/ingress.class": "a"}},
        "spec": {"ingressClassName": "b", "defaultBackend": backend},
    }
    assert kit("ingresses").wrong(body) == [
        'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match `ingressClassName` '
        "when both are specified"
    ]


def test_a_policy_is_for_the_directions_it_has_rules_for(kit: Any) -> None:
    made = kit("networkpolicies").create({"metadata": {"name": "n"}, "spec": {"egress": [{}]}})
    assert made["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_an_exception_lies_within_its_block(kit: Any) -> None:
    block = {"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]}
    assert kit("networkpolicies").wrong({"metadata": {"name": "n"}, "spec": spec}) == [
        'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "192.168.0.0/16": must be a strict '
        "subset of `cidr`"
    ]


def test_an_address_of_a_slice_is_of_its_family(kit: Any) -> None:
    body = {"metadata": {"name": "e"}, "addressType": "IPv6", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": []}
    (error,) = kit("endpointslices").wrong(body)
    assert error.startswith('endpoints[0].addresses[0]: Invalid value: "10.0.0.1"')
