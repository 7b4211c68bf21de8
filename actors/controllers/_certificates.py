"""Certificate requests: reading them, which signer takes which, and signing.

Owns the X.509 work of the CSR controllers; it knows requests as PEM and answers in PEM. Facts:
kubernetes pkg/apis/certificates/helpers.go, pkg/controller/certificates/signer.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from protocol.objects import Object, spec

__all__ = [
    "CLIENT",
    "KUBELET_CLIENT",
    "KUBELET_SERVING",
    "LEGACY",
    "SIGNERS",
    "Authority",
    "is_node_client",
    "read",
    "refusal",
]

KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
CLIENT = "kubernetes.io/kube-apiserver-client"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY)

BACKDATE = timedelta(minutes=5)
MAX_TTL_S = 365 * 24 * 3600
MIN_TTL_S = 600
_CLIENT_USAGES = frozenset(("client auth", "digital signature", "key encipherment"))
_SERVER_USAGES = frozenset(("server auth", "digital signature", "key encipherment"))
_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
}


def read(csr: Object) -> Any:
    """The X.509 request in a CertificateSigningRequest. Raises ValueError."""
    from cryptography import x509

    return x509.load_pem_x509_csr(base64.b64decode(spec(csr).get("request", "")))


def _names(request: Any) -> tuple[str, list[str]]:
    from cryptography.x509.oid import NameOID

    common = [a.value for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return (
        common[0] if common else "",
        [a.value for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)],
    )


def _alternatives(request: Any) -> dict[str, list[Any]]:
    from cryptography import x509

    found: dict[str, list[Any]] = {"dns": [], "ip": [], "email": [], "uri": []}
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return found
    kinds = {"dns": x509.DNSName, "ip": x509.IPAddress, "email": x509.RFC822Name, "uri": x509.UniformResourceIdentifier}
    for kind, cls in kinds.items():
        found[kind] = names.get_values_for_type(cls)
    return found


def is_node_client(csr: Object, request: Any) -> bool:
    """Whether this asks for a kubelet's client certificate."""
    return spec(csr).get("signerName") == KUBELET_CLIENT and not _kubelet_client_problem(csr, request)


def _kubelet_client_problem(csr: Object, request: Any) -> str:
    common, organizations = _names(request)
    if organizations != ["system:nodes"]:
        return "subject organization is not system:nodes"
    names = _alternatives(request)
    for kind, text in (("dns", "DNS"), ("email", "Email"), ("ip", "IP"), ("uri", "URI")):
        if names[kind]:
            return f"{text} subjectAltNames are not allowed"
    usages = set(spec(csr).get("usages") or ())
    if not usages <= _CLIENT_USAGES or "client auth" not in usages or "digital signature" not in usages:
        return "usages did not match [client auth digital signature key encipherment]"
    if not common.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    return ""


def _kubelet_serving_problem(csr: Object, request: Any) -> str:
    common, organizations = _names(request)
    if organizations != ["system:nodes"]:
        return "subject organization is not system:nodes"
    names = _alternatives(request)
    if not names["dns"] and not names["ip"]:
        return "DNS or IP subjectAltName is required"
    for kind, text in (("email", "Email"), ("uri", "URI")):
        if names[kind]:
            return f"{text} subjectAltNames are not allowed"
    usages = set(spec(csr).get("usages") or ())
    if not usages <= _SERVER_USAGES or "server auth" not in usages or "digital signature" not in usages:
        return "usages did not match [digital signature key encipherment server auth]"
    if not common.startswith("system:node:"):
        return "subject common name does not begin with system:node: "
    return ""


def refusal(csr: Object, request: Any) -> str:
    """Why the built-in signer of this request will not sign it; empty when it will."""
    signer = spec(csr).get("signerName")
    if signer == KUBELET_CLIENT:
        return _kubelet_client_problem(csr, request)
    if signer == KUBELET_SERVING:
        return _kubelet_serving_problem(csr, request)
    if signer == CLIENT:
        usages = set(spec(csr).get("usages") or ())
        if not usages <= _CLIENT_USAGES or "client auth" not in usages:
            return f"invalid usages for client certificate: {' '.join(sorted(usages))}"
    return ""


class Authority:
    """A signing certificate with its key, both in PEM."""

    def __init__(self, certificate_pem: bytes, key_pem: bytes) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        self.certificate = x509.load_pem_x509_certificate(certificate_pem)
        self.key: Any = load_pem_private_key(key_pem, None)

    def sign(self, csr: Object, request: Any, now: float, serial: int, longest_s: float = MAX_TTL_S) -> bytes:
        """The certificate in PEM; `now` in seconds since the epoch. It is good for as long as was asked for,
        not less than ten minutes, not more than `longest_s`."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding

        start = datetime.fromtimestamp(now, UTC)
        wanted_s = spec(csr).get("expirationSeconds")
        end = start + timedelta(seconds=longest_s if wanted_s is None else min(max(wanted_s, MIN_TTL_S), longest_s))
        end = min(end, self.certificate.not_valid_after_utc)
        usages = set(spec(csr).get("usages") or ())
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self.certificate.subject)
            .public_key(request.public_key())
            .serial_number(serial)
            .not_valid_before(start - BACKDATE)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        if usages & set(_KEY_USAGES):  # one without a bit is malformed: TLS servers refuse the certificate
            builder = builder.add_extension(_key_usage(usages), critical=True)
        extended = _extended_usages(usages)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        try:
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=False)
        except x509.ExtensionNotFound:
            pass
        signed = builder.sign(self.key, hashes.SHA256())
        return bytes(signed.public_bytes(Encoding.PEM))


def _key_usage(usages: set[str]) -> Any:
    from cryptography import x509

    bits = dict.fromkeys((*_KEY_USAGES.values(), "encipher_only", "decipher_only"), False)
    for usage in usages:
        if usage in _KEY_USAGES:
            bits[_KEY_USAGES[usage]] = True
    return x509.KeyUsage(**bits)


def _extended_usages(usages: set[str]) -> list[Any]:
    from cryptography.x509.oid import ExtendedKeyUsageOID as Oid

    known = {
        "server auth": Oid.SERVER_AUTH,
        "client auth": Oid.CLIENT_AUTH,
        "code signing": Oid.CODE_SIGNING,
        "email protection": Oid.EMAIL_PROTECTION,
        "timestamping": Oid.TIME_STAMPING,
        "ocsp signing": Oid.OCSP_SIGNING,
        "any": Oid.ANY_EXTENDED_KEY_USAGE,
    }
    return [known[u] for u in sorted(usages) if u in known]
