"""Service accounts, their tokens, the CA bundle, aggregated roles, certificate requests."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from actors.controllers._legacytoken import sign

Object = dict[str, Any]
CONTROLLERS = ",".join(
    (
        "root-ca-certificate-publisher-controller",
        "serviceaccount-token-controller",
        "clusterrole-aggregation-controller",
        "token-cleaner-controller",
        "certificatesigningrequest-approving-controller",
        "certificatesigningrequest-signing-controller",
        "certificatesigningrequest-cleaner-controller",
    )
)
KUBELET = "kubernetes.io/kube-apiserver-client-kubelet"


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def authority() -> tuple[bytes, bytes]:
    """A self-signed CA: certificate and key."""
    from datetime import UTC, datetime

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-ca")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(datetime(2025, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2046, 1, 1, tzinfo=UTC)
    )
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), pem(key)


CA, CA_KEY = authority()
ACCOUNT_KEY = pem(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def identity(plane: Callable[..., Any]) -> Any:
    extra = {
        "root_ca": CA.decode(),
        "service_account_key": ACCOUNT_KEY,
        "cluster_signing_certificate": CA,
        "cluster_signing_key": CA_KEY,
    }
    return plane(CONTROLLERS, extra=extra)


def test_every_namespace_gets_its_default_account_and_again_when_deleted(identity: Any) -> None:
    identity.create("namespaces", {"metadata": {"name": "n"}})
    identity.sim.advance(1.0)
    first = identity.get("serviceaccounts", "default", "n")
    identity.delete("serviceaccounts", "default", "n")
    identity.sim.advance(1.0)
    second = identity.get("serviceaccounts", "default", "n")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


def test_the_ca_bundle_is_in_every_namespace_and_mended_when_changed(identity: Any) -> None:
    identity.create("namespaces", {"metadata": {"name": "n"}})
    identity.sim.advance(1.0)
    assert identity.get("configmaps", "kube-root-ca.crt", "n")["data"] == {"ca.crt": CA.decode()}
    identity.patch("configmaps", "kube-root-ca.crt", {"data": {"ca.crt": "other"}}, "n")
    identity.sim.advance(1.0)
    assert identity.get("configmaps", "kube-root-ca.crt", "n")["data"] == {"ca.crt": CA.decode()}
    identity.delete("configmaps", "kube-root-ca.crt", "n")
    identity.sim.advance(1.0)
    assert identity.get("configmaps", "kube-root-ca.crt", "n")


def token_secret(account: str) -> Object:
    notes = {"kubernetes.io/service-account.name": account}
    return {"metadata": {"name": "tok", "annotations": notes}, "type": "kubernetes.io/service-account-token"}


def test_a_token_secret_is_filled_in(identity: Any) -> None:
    account = identity.create("serviceaccounts", {"metadata": {"name": "robot"}})
    identity.create("secrets", token_secret("robot"))
    identity.sim.advance(1.0)
    secret = identity.get("secrets", "tok")
    assert set(secret["data"]) == {"token", "ca.crt", "namespace"}
    uid = account["metadata"]["uid"]
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == uid
    claims = base64.urlsafe_b64decode(base64.b64decode(secret["data"]["token"]).split(b".")[1] + b"==")
    assert b'"sub":"system:serviceaccount:default:robot"' in claims


def test_a_token_secret_goes_with_its_account(identity: Any) -> None:
    identity.create("serviceaccounts", {"metadata": {"name": "robot"}})
    identity.create("secrets", token_secret("robot"))
    identity.sim.advance(1.0)
    identity.delete("serviceaccounts", "robot")
    identity.sim.advance(1.0)
    assert identity.get("secrets", "tok") is None


def test_a_deleted_secret_is_mentioned_no_more_in_its_account(identity: Any) -> None:
    identity.create("serviceaccounts", {"metadata": {"name": "robot"}, "secrets": [{"name": "tok"}, {"name": "other"}]})
    identity.create("secrets", token_secret("robot"))
    identity.sim.advance(1.0)
    identity.delete("secrets", "tok")
    identity.sim.advance(1.0)
    assert identity.get("serviceaccounts", "robot")["secrets"] == [{"name": "other"}]


def test_legacy_tokens_are_signed_with_the_key() -> None:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    key = ec.generate_private_key(ec.SECP256R1())
    token = sign(pem(key), "ns", "robot", "uid", "secret")
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key.public_key().verify(der, signed.encode(), ec.ECDSA(hashes.SHA256()))


def role(name: str, *verbs: str, **labels: str) -> Object:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": [v]} for v in verbs]
    return {"metadata": {"name": name, "labels": labels}, "rules": rules}


def test_an_aggregating_role_has_the_rules_of_those_it_selects(identity: Any) -> None:
    selector = {"clusterRoleSelectors": [{"matchLabels": {"to": "sum"}}]}
    identity.create("clusterroles", {"metadata": {"name": "sum"}, "aggregationRule": selector, "rules": []})
    identity.create("clusterroles", role("b", "get", "list", to="sum"))
    identity.create("clusterroles", role("a", "list", to="sum"))
    identity.create("clusterroles", role("c", "watch"))
    identity.sim.advance(1.0)
    assert [r["verbs"] for r in identity.get("clusterroles", "sum")["rules"]] == [["list"], ["get"]]
    identity.delete("clusterroles", "b")
    identity.sim.advance(1.0)
    assert [r["verbs"] for r in identity.get("clusterroles", "sum")["rules"]] == [["list"]]


def test_an_expired_bootstrap_token_is_deleted_in_time(identity: Any) -> None:
    ends = "2026-01-01T01:00:00Z"
    data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "expiration": ends}
    encoded = {k: base64.b64encode(v.encode()).decode() for k, v in data.items()}
    secret = {"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "data": encoded}
    identity.create("secrets", secret, "kube-system")
    identity.sim.advance(3000.0)
    assert identity.get("secrets", "bootstrap-token-abcdef", "kube-system")
    identity.sim.advance(700.0)
    assert identity.get("secrets", "bootstrap-token-abcdef", "kube-system") is None


def request(common: str, organization: str, signer: str, *usages: str, name: str = "r") -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [
        x509.NameAttribute(NameOID.COMMON_NAME, common),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
    ]
    csr = x509.CertificateSigningRequestBuilder(x509.Name(subject)).sign(key, hashes.SHA256())
    encoded = base64.b64encode(csr.public_bytes(Encoding.PEM)).decode()
    return {"metadata": {"name": name}, "spec": {"signerName": signer, "request": encoded, "usages": list(usages)}}


def conditions(csr: Object) -> list[tuple[str, str]]:
    return [(c["type"], c["reason"]) for c in csr["status"].get("conditions") or ()]


def test_a_kubelets_request_is_approved_and_signed(identity: Any) -> None:
    wanted = request("system:node:n1", "system:nodes", KUBELET, "client auth", "digital signature")
    identity.create("certificatesigningrequests", wanted)
    identity.sim.advance(1.0)
    csr = identity.get("certificatesigningrequests", "r")
    assert conditions(csr) == [("Approved", "AutoApproved")]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(csr["status"]["certificate"]))
    assert certificate.issuer.rfc4514_string() == "CN=test-ca"
    assert certificate.subject.rfc4514_string() == "O=system:nodes,CN=system:node:n1"


def test_an_approved_request_that_a_signer_may_not_sign_fails(identity: Any) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    identity.create("certificatesigningrequests", request("me", "us", signer, "server auth"))
    identity.sim.advance(1.0)
    csr = identity.get("certificatesigningrequests", "r")
    assert conditions(csr) == []
    approval = [{"type": "Approved", "status": "True", "reason": "Test", "message": "ok"}]
    csr["status"]["conditions"] = approval
    identity.client.update("certificatesigningrequests", csr, subresource="approval")
    identity.sim.advance(1.0)
    assert conditions(identity.get("certificatesigningrequests", "r"))[1] == ("Failed", "SignerValidationFailure")


def test_a_request_for_an_unknown_signer_is_left_alone_and_removed_after_a_day(identity: Any) -> None:
    identity.create("certificatesigningrequests", request("me", "us", "example.com/none", "client auth"))
    identity.sim.advance(20 * 3600.0)
    csr = identity.get("certificatesigningrequests", "r")
    assert conditions(csr) == []
    assert "certificate" not in csr["status"]
    identity.sim.advance(6 * 3600.0)
    assert identity.get("certificatesigningrequests", "r") is None
