"""Certificates: the cluster's own authority, the server's certificate and clients'.

Owns their making. Keys are elliptic curve (P-256), so a whole cluster's are made in milliseconds.
Nothing is written but where the caller says, and private keys only for the owner's eyes.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["Authority", "KeyPair", "is_private_key", "new_key", "server_context", "user_of"]

_YEARS = 10
_UID_OID = "1.3.6.1.4.1.57683.2"
"""Kubernetes' own object identifier for a user's uid in a certificate's subject."""


class KeyPair:
    """A certificate and its private key, both PEM."""

    __slots__ = ("certificate", "key")

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.certificate = certificate
        self.key = key


def new_key() -> bytes:
    """A new private key as PEM."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return _pem(ec.generate_private_key(ec.SECP256R1()))


def is_private_key(pem: bytes) -> bool:
    """Whether this is the PEM of a private key without a password."""
    from cryptography.hazmat.primitives import serialization

    try:
        serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        return False
    return True


def _pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _name(common: str, organizations: Sequence[str] = (), uid: str = "") -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    parts.append(x509.NameAttribute(NameOID.COMMON_NAME, common))
    if uid:
        parts.append(x509.NameAttribute(x509.ObjectIdentifier(_UID_OID), uid))
    return x509.Name(parts)


class Authority:
    """A certificate authority."""

    def __init__(self, pair: KeyPair, now: float) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        self.pair = pair
        self._now = now
        self._certificate = x509.load_pem_x509_certificate(pair.certificate)
        self._key: Any = serialization.load_pem_private_key(pair.key, None)

    @classmethod
    def create(cls, now: float, name: str = "kubernetes") -> Authority:
        """A new authority, valid from `now` (seconds since the epoch) for ten years."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(name), _name(name), key.public_key(), now)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True).add_extension(
            _usage(signs_certificates=True), True
        )
        certificate = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        ).sign(key, _hash())
        return cls(KeyPair(_certificate_pem(certificate), _pem(key)), now)

    @classmethod
    def load_or_create(cls, directory: Path, now: float, name: str = "ca") -> Authority:
        """The authority kept in a directory, made at first need.

        Raises: ValueError for files that are no certificate and its key.
        """
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        if certificate.exists() and key.exists():
            try:
                return cls(KeyPair(certificate.read_bytes(), key.read_bytes()), now)
            except ValueError:
                raise ValueError(
                    f"{certificate} and {name}.key are no certificate and its key; "
                    "put the right ones back, or remove both for new ones"
                ) from None
        made = cls.create(now)
        directory.mkdir(parents=True, exist_ok=True)
        write_private(key, made.pair.key)
        certificate.write_bytes(made.pair.certificate)
        return made

    @property
    def certificate(self) -> bytes:
        """The authority's own certificate, PEM."""
        return self.pair.certificate

    def server(self, hosts: Sequence[str]) -> KeyPair:
        """A certificate for a server that is reached under these names and addresses."""
        from cryptography import x509

        names: list[Any] = []
        for host in dict.fromkeys(hosts):
            try:
                names.append(x509.IPAddress(ipaddress.ip_address(host)))
            except ValueError:
                names.append(x509.DNSName(host))
        return self._issue(_name("kube-apiserver"), names, server=True)

    def client(self, user: str, groups: Sequence[str] = (), uid: str | None = None) -> KeyPair:
        """A certificate that names a user, its groups and its uid (by default its name)."""
        return self._issue(_name(user, groups, user if uid is None else uid), [], server=False)

    def _issue(self, subject: Any, names: list[Any], server: bool) -> KeyPair:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(subject, self._certificate.subject, key.public_key(), self._now)
            .add_extension(x509.BasicConstraints(False, None), True)
            .add_extension(_usage(signs_certificates=False), True)
            .add_extension(x509.ExtendedKeyUsage([use]), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        return KeyPair(_certificate_pem(builder.sign(self._key, _hash())), _pem(key))


def _builder(subject: Any, issuer: Any, public_key: Any, now: float) -> Any:
    from cryptography import x509

    start = datetime.datetime.fromtimestamp(now, datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=365 * _YEARS))
    )


def _hash() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _usage(signs_certificates: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    data: bytes = certificate.public_bytes(serialization.Encoding.PEM)
    return data


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def server_context(pair: KeyPair, client_ca: bytes = b"") -> ssl.SSLContext:
    """TLS 1.2 or newer for a server; client certificates of `client_ca` are asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    with tempfile.TemporaryDirectory() as directory:  # the ssl module loads keys only from files
        path = Path(directory) / "server.pem"
        write_private(path, pair.certificate + pair.key)
        context.load_cert_chain(path)
    if client_ca:
        context.load_verify_locations(cadata=client_ca.decode())
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def user_of(peer_certificate: dict[str, Any]) -> tuple[str, tuple[str, ...], str]:
    """User, groups and uid that a verified client certificate names."""
    common, organizations, uid = "", [], ""
    for part in peer_certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                common = value
            elif key == "organizationName":
                organizations.append(value)
            elif key == _UID_OID:
                uid = value
    return common, tuple(organizations), uid
