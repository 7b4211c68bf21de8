"""Reading a kubeconfig: where a cluster is and how to prove who one is.

Owns the file's form and the TLS context that follows from it. What is not modelled (exec plugins,
auth providers, proxies) is refused by name.
https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

__all__ = ["KubeConfig", "authority_of", "load_kubeconfig"]


class KubeConfig(NamedTuple):
    """One context of a kubeconfig, resolved. `authorization` is the header's value or empty."""

    host: str
    port: int
    prefix: str
    tls: ssl.SSLContext | None
    server_name: str
    authorization: str
    namespace: str


def load_kubeconfig(path: str | Path, context: str = "") -> KubeConfig:
    """Read a kubeconfig's current (or the named) context.

    Raises: `ValueError` with one clear line for a file that is missing or not a kubeconfig.
    """
    import yaml

    file = Path(path)
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot read the kubeconfig {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ValueError(f"{file} is not YAML") from None
    if not isinstance(document, dict):
        raise ValueError(f"{file} is not a kubeconfig")
    chosen = context or document.get("current-context") or ""
    if not chosen:
        raise ValueError(f"{file} has no current-context")
    entry = _named(document.get("contexts"), chosen, "context", file)
    cluster = _named(document.get("clusters"), entry.get("cluster", ""), "cluster", file)
    user = _named(document.get("users"), entry.get("user", ""), "user", file)
    return _resolve(cluster, user, entry.get("namespace") or "default", file)


def authority_of(path: str | Path) -> str:
    """PEM of the authorities that the current context's cluster is verified with; empty for one
    without TLS. Raises: `ValueError` as `load_kubeconfig`."""
    tls = load_kubeconfig(path).tls
    if tls is None:
        return ""
    return "".join(ssl.DER_cert_to_PEM_cert(der) for der in tls.get_ca_certs(binary_form=True))


def _named(entries: Iterable[Any] | None, name: str, kind: str, file: Path) -> dict[str, Any]:
    for entry in entries or ():
        if isinstance(entry, dict) and entry.get("name") == name:
            return dict(entry.get(kind) or {})
    raise ValueError(f'{file} has no {kind} "{name}"')


def _resolve(
    cluster: dict[str, Any], user: dict[str, Any], namespace: str, file: Path
) -> KubeConfig:
    for unsupported in ("exec", "auth-provider"):
        if user.get(unsupported):
            raise ValueError(f"{file}: users with `{unsupported}` are not supported")
    if cluster.get("proxy-url"):
        raise ValueError(f"{file}: `proxy-url` is not supported")
    url = urlsplit(cluster.get("server") or "")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"{file}: {cluster.get('server')!r} is not the URL of a server")
    tls = _tls(cluster, user, file) if url.scheme == "https" else None
    return KubeConfig(
        url.hostname,
        url.port or (443 if url.scheme == "https" else 80),
        url.path.rstrip("/"),
        tls,
        cluster.get("tls-server-name") or url.hostname,
        _authorization(user, file),
        namespace,
    )


def _authorization(user: dict[str, Any], file: Path) -> str:
    token = user.get("token") or ""
    if user.get("tokenFile"):
        token = (file.parent / user["tokenFile"]).read_text(encoding="utf-8").strip()
    if token:
        return f"Bearer {token}"
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"
    return ""


def _tls(cluster: dict[str, Any], user: dict[str, Any], file: Path) -> ssl.SSLContext:
    authority = _bytes(cluster, "certificate-authority", file)
    try:
        tls = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if cluster.get("insecure-skip-tls-verify"):
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        certificate = _bytes(user, "client-certificate", file)
        key = _bytes(user, "client-key", file)
        if certificate and key:
            _load_pair(tls, certificate, key)
    except (ssl.SSLError, ValueError) as error:
        told = str(error).removeprefix(f"{file}: ")
        raise ValueError(f"{file}: bad certificate or key: {told}") from None
    return tls


def _load_pair(tls: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """The ssl module reads only files: lend it one that nobody else may read."""
    descriptor, name = tempfile.mkstemp()
    try:
        with os.fdopen(descriptor, "wb") as lent:
            lent.write(certificate + b"\n" + key)
        tls.load_cert_chain(name)
    finally:
        os.unlink(name)


def _bytes(entry: dict[str, Any], field: str, file: Path) -> bytes:
    """A field given in place (base64) or as a path relative to the kubeconfig."""
    if entry.get(f"{field}-data"):
        try:
            return base64.b64decode(entry[f"{field}-data"], validate=True)
        except (binascii.Error, TypeError):
            raise ValueError(f"{file}: `{field}-data` is not base64") from None
    if entry.get(field):
        try:
            return (file.parent / entry[field]).read_bytes()
        except OSError as error:
            raise ValueError(f"{file}: cannot read {entry[field]}: {error.strerror}") from None
    return b""
