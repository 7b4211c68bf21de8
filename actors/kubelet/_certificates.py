"""Certificates of a joined node: asked of the cluster by CertificateSigningRequest.

Owns the requests (upstream's `pkg/kubelet/certificate`): one for a client certificate, made once with a bootstrap
token, and those for the serving certificate, renewed before it ends. Who approves and signs, is the cluster's.
https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from actors.client import Client, ClientActor
from actors.kernel import Ref, handles
from protocol.api import StatusError
from protocol.message import Message

__all__ = [
    "CLIENT_SIGNER",
    "SERVING_SIGNER",
    "RequestRefused",
    "ServingCertificates",
    "csr_object",
    "obtain",
    "signing_request",
]

Object = dict[str, Any]
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
POLL_S = 2.0
RETRY_S = 15.0
WAIT_S = 900.0
RENEW_AT = 0.8
"""How much of its life a certificate has when it is renewed."""


class RequestRefused(Exception):
    """The request was denied, could not be signed, or nobody answered in time."""


def signing_request(node: str, names: Sequence[str] = ()) -> tuple[bytes, bytes]:
    """(request, key) in PEM for a node of that name; `names`: host names and addresses that it serves under."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        others: list[x509.GeneralName] = [_general_name(name) for name in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    request = builder.sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return request.public_bytes(serialization.Encoding.PEM), private


def _general_name(name: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def csr_object(request: bytes, signer: str) -> Object:
    """The CertificateSigningRequest to be created."""
    usage = "server auth" if signer == SERVING_SIGNER else "client auth"
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"generateName": "csr-"},
        "spec": {
            "request": base64.b64encode(request).decode(),
            "signerName": signer,
            "usages": ["digital signature", usage],
        },
    }


async def obtain(actor: Any, client: Client, request: bytes, signer: str, wait_s: float = WAIT_S) -> bytes:
    """The certificate (PEM), as soon as somebody has approved and signed it. Raises: RequestRefused, StatusError."""
    made = await client.create("certificatesigningrequests", csr_object(request, signer))
    name, end = made["metadata"]["name"], actor.clock.monotonic() + wait_s
    while True:
        status = made.get("status") or {}
        for condition in status.get("conditions") or ():
            if condition["type"] in ("Denied", "Failed"):
                raise RequestRefused(f"{name}: {condition['type']}: {condition.get('message', '')}")
        if status.get("certificate"):
            return base64.b64decode(status["certificate"])
        if actor.clock.monotonic() >= end:
            raise RequestRefused(f"{name}: nobody has signed it in {wait_s:g} s (kubectl certificate approve {name})")
        await actor.sleep(POLL_S)
        made = await client.get("certificatesigningrequests", name)


def _life(certificate: bytes) -> tuple[float, float]:
    """(begin, end) in seconds since the epoch."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate)
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


class Renew(Message, frozen=True):
    """Time for a certificate."""


class ServingCertificates(ClientActor):
    """Has the kubelet's serving certificate signed by the cluster, again and again. `install` gets certificate and key
    in PEM, and may block for the time of writing a file."""

    def __init__(
        self, apiserver: Ref, node: str, names: Sequence[str], install: Callable[[bytes, bytes], None]
    ) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent="kubelet")
        self.node_name = node
        self.names = tuple(names)
        self.install = install

    def on_start(self) -> None:
        self.ref.tell(Renew())

    @handles(Renew, serial=lambda m: "one")
    async def renew(self, message: Renew) -> None:
        """One request, until there is an answer."""
        request, key = signing_request(self.node_name, self.names)
        try:
            certificate = await obtain(self, self.client, request, SERVING_SIGNER)
        except (RequestRefused, StatusError) as error:
            self.log.warning("serving_certificate_refused", node=self.node_name, error=str(error))
            self.after(RETRY_S, Renew())
            return
        self.install(certificate, key)
        begin, end = _life(certificate)
        self.log.info("serving_certificate_installed", node=self.node_name)
        self.after(max(RETRY_S, begin + (end - begin) * RENEW_AT - self.clock.now()), Renew())
