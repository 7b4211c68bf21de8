"""What can be set about an API server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from protocol.api import UserInfo

__all__ = ["ApiServerConfig"]


class ApiServerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one API server. Periods are in seconds."""

    minor: int = 36
    """Kubernetes 1.`minor` is what is served."""
    exclusive: bool = True
    """No other API server writes to this etcd: a read of the cache is then always up to date with
    this server's own writes, and etcd need not be asked for the current revision."""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    node_ports: tuple[int, int] = (30000, 32767)
    service_account_issuer: str = "https://kubernetes.default.svc"
    audiences: tuple[str, ...] = ()
    """What tokens for this API server are made for; the issuer when empty."""
    service_account_key: bytes = b""
    """PEM of the private key that signs service account tokens; made at first need when empty."""
    advertise_address: str = "127.0.0.1"
    advertise_port: int = 6443
    tokens: Mapping[str, UserInfo] = {}
    """Static bearer tokens and whom they name."""
    client_ca: bytes = b""
    """PEM of the authority for client certificates (checked by TLS), shown to clients in kube-system."""
    jwt: tuple[Any, ...] = ()
    """Issuers of tokens that are trusted besides this server itself (`actors.apiserver._jwt`)."""
    anonymous: bool = True
    """Requests without credentials are `system:anonymous`; what they may do is up to RBAC."""
    anonymous_paths: tuple[str, ...] = ()
    """The only paths on which requests may be anonymous; empty: all."""
    authorization: str = "Node,RBAC"
    """Modes in the order in which they are asked: `Node`, `RBAC`, `AlwaysAllow`, `AlwaysDeny`."""
    bootstrap: bool = True
    """Create the objects that every cluster has at its start."""
    admission: tuple[Any, ...] | None = None
    """Admission plugins in order; None means the default set."""
    admission_configuration: Mapping[str, Any] = {}
    """What plugins are told, by their names: a PodSecurityConfiguration, for instance."""
    enable_admission: tuple[str, ...] = ()
    disable_admission: tuple[str, ...] = ()
    """Names of plugins that run, or do not run, other than by default."""
    bookmark_period: float = 60.0
    compaction_period: float = 300.0
    storage_check_period: float = 5.0
    event_ttl: int = 3600
    debug: bool = False
    """Objects of the cache refuse to be changed: who writes to what is shared hears a `TypeError`."""
    history: int = 8192
    """Changes kept per resource, for watches that start in the past."""
    min_watch_timeout: float = 1800.0
    """A watch without timeoutSeconds ends after one to two times this."""
    audit_path: Path | None = None
    """Where the audit log is written; None: nowhere."""
    audit_policy: Any = None
    """The `audit.k8s.io/v1` Policy as a dict; None records the metadata of every HTTP request."""
    proxy_client: bytes = b""
    """Certificate and key (PEM) of `front-proxy-client`, shown to extension API servers; empty: none."""
    kubelet_client: bytes = b""
    """Certificate and key (PEM) shown to kubelets in other processes; empty: those are not asked."""
    max_requests_inflight: int = 400
    max_mutating_requests_inflight: int = 200
    """Together the seats that priority levels share: HTTP requests that may be under way at a time."""
    max_body_bytes: int = 3 * 1024 * 1024

    @property
    def authorization_modes(self) -> tuple[str, ...]:
        """The modes one by one."""
        return tuple(mode.strip() for mode in self.authorization.split(",") if mode.strip())

    @property
    def api_audiences(self) -> tuple[str, ...]:
        """The audiences of tokens that are shown to this API server."""
        return self.audiences or (self.service_account_issuer,)
