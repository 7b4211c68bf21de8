"""What the certificates API of 1.37 adds: the API server's trust bundle, pods' requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

Object = dict[str, Any]
BUNDLES = "clustertrustbundles.v1.certificates.k8s.io"
REQUESTS = "podcertificaterequests.v1.certificates.k8s.io"


@pytest.fixture(scope="module")
def authority() -> bytes:
    """A self-signed CA in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(datetime(2025, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2046, 1, 1, tzinfo=UTC))
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def bundles(world: Any) -> dict[str, str]:
    return {b["metadata"]["name"]: b["spec"]["trustBundle"] for b in world.client.list(BUNDLES)}


def test_the_trust_bundle_of_the_api_server_is_the_clusters_authority_and_no_other(plane: Any, authority: bytes) -> None:
    name = "kube-apiserver-serving-clustertrustbundle-publisher-controller"
    world = plane(name, minor=37, extra={"root_ca": authority.decode()})
    (name,) = world.eventually(lambda: bundles(world))
    assert name.startswith("kubernetes.io:kube-apiserver-serving:")
    assert bundles(world) == {name: authority.decode()}
    spec = {"signerName": "kubernetes.io/kube-apiserver-serving", "trustBundle": authority.decode()}
    old = {"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "spec": spec}
    world.client.create(BUNDLES, {**old, "metadata": {"name": "kubernetes.io:kube-apiserver-serving:old"}})
    world.eventually(lambda: list(bundles(world)) == [name])
    world.client.delete(BUNDLES, name)
    world.eventually(lambda: list(bundles(world)) == [name])


def test_requests_of_pods_go_after_half_an_hour(plane: Any) -> None:
    world = plane("podcertificaterequest-cleaner-controller", minor=37)
    spec = {
        "signerName": "example.com/signer",
        "podName": "p",
        "podUID": "11111111-1111-1111-1111-111111111111",
        "serviceAccountName": "default",
        "serviceAccountUID": "22222222-2222-2222-2222-222222222222",
        "nodeName": "n",
        "nodeUID": "33333333-3333-3333-3333-333333333333",
        "stubPKCS10Request": "AAAA",
    }
    body = {"apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest", "metadata": {"name": "r"}}
    world.client.create(REQUESTS, {**body, "spec": spec}, "default")
    world.sim.advance(29 * 60)
    assert len(world.client.list(REQUESTS)) == 1
    world.sim.advance(2 * 60)
    assert world.client.list(REQUESTS) == []
