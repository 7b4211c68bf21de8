"""The certificates that a served cluster needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from assembly.config import ClusterConfig

__all__ = ["Certificates", "WebhookCertificate"]

SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.96.0.1")


class WebhookCertificate(NamedTuple):
    """What a webhook's server needs: files in PEM, and the text of `clientConfig.caBundle`."""

    certificate: Path
    key: Path
    authority: Path
    ca_bundle: str


class Certificates:
    """The cluster's own authority, and what it has signed. Kept in the data directory if any."""

    def __init__(self, config: ClusterConfig, now: float) -> None:
        from actors.apiserver import pki

        self._pki = pki
        self._folder = None if config.data_dir is None else config.data_dir / "pki"
        self.authority = (
            pki.Authority.create(now) if self._folder is None else pki.Authority.load_or_create(self._folder, now)
        )
        self._server = self.authority.server([config.host, "127.0.0.1", "localhost", *SERVICE_NAMES])
        self._admin: Any = None
        self._key = b""

    def api_settings(self) -> dict[str, Any]:
        """What the API server must know of this."""
        proxy = self.authority.client("front-proxy-client")
        kubelets = self.authority.client("kube-apiserver-kubelet-client", ("system:masters",))
        return {
            "client_ca": self.authority.certificate,
            "service_account_key": self._account_key(),
            "proxy_client": proxy.certificate + proxy.key,
            "kubelet_client": kubelets.certificate + kubelets.key,
        }

    def _account_key(self) -> bytes:
        """The key that service account tokens are signed with. Raises: ValueError for a file that is none."""
        if self._folder is None:
            self._key = self._key or self._pki.new_key()
            return self._key
        path = self._folder / "sa.key"
        if not path.exists():
            self._pki.write_private(path, self._pki.new_key())
        key: bytes = path.read_bytes()
        if not self._pki.is_private_key(key):
            raise ValueError(f"{path} is no private key; put the right one back, or remove it for a new one")
        return key

    def controller_settings(self) -> dict[str, Any]:
        """What controllers must know of this."""
        authority = self.authority.certificate
        return {
            "root_ca": authority.decode(),
            "service_account_key": self._account_key(),
            "cluster_signing_certificate": authority,
            "cluster_signing_key": self.authority.pair.key,
        }

    def tls(self) -> Any:
        """The server side's TLS context."""
        return self._pki.server_context(self._server, self.authority.certificate)

    def write_kubeconfig(self, path: Path, url: str) -> None:
        from actors.apiserver import kubeconfig

        if self._admin is None:
            self._admin = self.authority.client("admin", ("system:masters",))
        kubeconfig.write(path, url, self.authority.certificate, self._admin)
