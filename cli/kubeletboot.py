"""What `kubekka kubelet` reads and asks for before it joins: its configuration file, and its first certificate."""

from __future__ import annotations

import argparse
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

import yaml

from actors.client import Client, ClientActor, HttpTransport, load_kubeconfig
from actors.kernel import Child, LiveSystem, Ref, handles
from cli._errors import Failed, UsageError
from protocol.api import StatusError
from protocol.message import Message

__all__ = ["bootstrap", "installer", "read_config_file"]

PAIR = "kubelet-client-current.pem"
WAIT_S = 600.0


def read_config_file(path: Path | None) -> dict[str, Any]:
    """The KubeletConfiguration in a file. Raises: UsageError."""
    if path is None:
        return {}
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config: cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(document, dict):
        raise UsageError(f"--config: {path} holds no KubeletConfiguration")
    return document


class Obtain(Message, frozen=True):
    """Asked: a client certificate for a node. Answered by (certificate, key) in PEM."""

    node: str


class Applicant(ClientActor):
    """Asks for it."""

    def __init__(self, apiserver: Ref) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent="kubelet-bootstrap")

    @handles(Obtain)
    async def obtain(self, message: Obtain) -> tuple[bytes, bytes]:
        from actors.kubelet import CLIENT_SIGNER, obtain, signing_request

        request, key = signing_request(message.node)
        return await obtain(self, self.client, request, CLIENT_SIGNER, WAIT_S), key


def bootstrap(options: argparse.Namespace) -> None:
    """With `--bootstrap-kubeconfig`: have a client certificate signed and write `--kubeconfig`, unless that is there.

    Raises: UsageError, Failed.
    """
    first, target = options.bootstrap_kubeconfig, options.kubeconfig
    if first is None:
        return
    if target is None:
        raise UsageError("--bootstrap-kubeconfig needs --kubeconfig, which is written")
    if target.is_file():
        return
    from actors.kubelet import RequestRefused

    folder = options.cert_dir or target.parent / "pki"
    system = LiveSystem("kubelet-bootstrap").start_thread()
    try:
        loaded = load_kubeconfig(first)
        transport = system.spawn(Child("transport", lambda: HttpTransport(loaded)))
        applicant = system.spawn(Child("applicant", lambda: Applicant(transport)))
        certificate, key = applicant.ask(Obtain(options.node_name), timeout=WAIT_S + 30.0)
    except (ValueError, OSError) as error:
        raise UsageError(f"{first}: {error}") from None
    except (StatusError, RequestRefused) as error:
        raise Failed(f"no client certificate for node {options.node_name}: {error}") from None
    finally:
        system.shutdown()
    try:
        _write(folder / PAIR, certificate + key)
        _write(target, yaml.safe_dump(_kubeconfig(first, folder / PAIR), sort_keys=False).encode())
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None


def _kubeconfig(first: Path, pair: Path) -> dict[str, Any]:
    """The bootstrap kubeconfig's cluster, with the certificate in place of the token."""
    told = yaml.safe_load(first.read_text())
    context: dict[str, Any] = next((c["context"] for c in told["contexts"] if c["name"] == told.get("current-context")), {})
    cluster = next(c["cluster"] for c in told["clusters"] if c["name"] == context.get("cluster"))
    authority = cluster.get("certificate-authority")
    if authority:  # a relative path is relative to the file that it stands in
        cluster = {**cluster, "certificate-authority": str((first.parent / authority).resolve())}
    pem = str(pair.resolve())
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "default-cluster", "cluster": cluster}],
        "users": [{"name": "default-auth", "user": {"client-certificate": pem, "client-key": pem}}],
        "contexts": [{"name": "default-context", "context": {"cluster": "default-cluster", "user": "default-auth"}}],
        "current-context": "default-context",
    }


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def installer(context: ssl.SSLContext, folder: Path | None) -> Any:
    """Puts a serving certificate to use for connections from now on, and keeps it in `kubelet-server-current.pem`."""

    def install(certificate: bytes, key: bytes) -> None:
        with tempfile.TemporaryDirectory() as scratch:  # the ssl module loads keys only from files
            path = (folder or Path(scratch)) / "kubelet-server-current.pem"
            _write(path, certificate + key)
            context.load_cert_chain(path)

    return install
