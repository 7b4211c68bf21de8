"""Which certificate a host is served with.

Owns the choice among the `tls` entries of Ingresses and the reading of their Secrets, and makes the
certificate of hosts that have none. It opens no port. Facts: kubernetes.io/docs, Ingress, TLS.
"""

from __future__ import annotations

import base64
import binascii
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Pair", "certificate_for", "certificates", "pair_of", "self_signed"]

Object = Mapping[str, Any]
DEFAULT_NAME = "Kubekka Ingress Controller default certificate"
VALID_DAYS = 365


class Pair(msgspec.Struct, frozen=True):
    """A certificate chain and its key, both PEM."""

    certificate: bytes
    key: bytes


def pair_of(secret: Object | None) -> Pair | None:
    """What a Secret of the type kubernetes.io/tls holds; None for what cannot be used."""
    data = (secret or {}).get("data") or {}
    try:
        certificate, key = (base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key"))
        chain = x509.load_pem_x509_certificates(certificate)
        private = serialization.load_pem_private_key(key, None)
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None
    spki = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*spki) != chain[0].public_key().public_bytes(*spki):
        return None
    return Pair(certificate, key)


def certificates(ingresses: Iterable[Object], secrets: Mapping[str, Object]) -> dict[str, Pair]:
    """By host (also `*.example.com`, in lower case). An entry without hosts is for those of the Ingress's
    rules; of two for a host, the first Ingress by name has it."""
    found: dict[str, Pair] = {}
    for ingress in ingresses:
        meta, spec = ingress["metadata"], ingress.get("spec") or {}
        for entry in spec.get("tls") or ():
            pair = pair_of(secrets.get(f"{meta.get('namespace', '')}/{entry.get('secretName', '')}"))
            hosts = entry.get("hosts") or [r["host"] for r in spec.get("rules") or () if r.get("host")]
            for host in hosts if pair is not None else ():
                found.setdefault(host.lower(), pair)  # type: ignore[arg-type]
    return found


def certificate_for(host: str, known: Mapping[str, Pair]) -> Pair | None:
    """The certificate of a server name, by itself or by a wildcard for its domain."""
    host = host.lower()
    return known.get(host) or known.get(f"*.{host.partition('.')[2]}")


def self_signed(now: float) -> Pair:
    """What hosts without a certificate get: clients are warned, and the connection is private."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DEFAULT_NAME)])
    begins = datetime.datetime.fromtimestamp(now, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins - datetime.timedelta(hours=1))
        .not_valid_after(begins + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("ingress.local")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Pair(certificate.public_bytes(pem), key.private_bytes(pem, *plain))
