"""`/statusz` and `/flagz`: what runs here, and how it was told to.

Owns their texts and structured forms (k8s.io/apiserver/pkg/server/statusz and .../flagz). They show
settings, never a key or a token.

https://kubernetes.io/docs/reference/instrumentation/zpages/
"""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from actors.apiserver._messages import HttpCall, HttpReply
from actors.apiserver._negotiate import JSON, YAML, clauses

if TYPE_CHECKING:
    from actors.apiserver._config import ApiServerConfig
    from actors.apiserver._server import ApiServer

__all__ = ["zpage"]

Object = dict[str, Any]
GROUP = "config.k8s.io"
COMPONENT = "apiserver"
_TEXT = "text/plain; charset=utf-8"
_WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for "
    "debugging purposes only."
)
_VERSIONS = {"v1alpha1": 35, "v1beta1": 36}
"""The versions of the structured form, and the minor version since which each is there."""
_NO_PLACES = ("/api", "/apis", "/openid", "/openapi", "/.well-known")


def zpage(server: ApiServer, call: HttpCall, kind: str, paths: list[str]) -> HttpReply:
    """One of the two pages; `kind` is `Statusz` or `Flagz`, `paths` are all that are served."""
    minor = server.core.config.minor
    for media, parameters in clauses(call.headers.get("accept", "") or "*/*"):
        found = dict(parameters)
        if media in ("*/*", "text/*", "text/plain") and "as" not in found:
            return HttpReply(200, _TEXT, _text(server, kind, paths).encode())
        wanted = (found.get("g"), found.get("as"))
        if media in (JSON, YAML) and wanted == (GROUP, kind) and minor >= _VERSIONS.get(found.get("v", ""), 99):
            return _structured(server, kind, paths, media, found["v"])
    accepted = [JSON, YAML, "text/plain"]
    message = f"only the following media types are accepted: {', '.join(accepted)}\n"
    return HttpReply(406, _TEXT, message.encode(), (("X-Content-Type-Options", "nosniff"),))


def _structured(server: ApiServer, kind: str, paths: list[str], media: str, version: str) -> HttpReply:
    shown = {
        "kind": kind,
        "apiVersion": f"{GROUP}/{version}",
        "metadata": {"name": COMPONENT},
        **(_status(server, paths) if kind == "Statusz" else {"flags": _flags(server.core.config)}),
    }
    headers: tuple[tuple[str, str], ...] = ()
    if version == "v1alpha1" and server.core.config.minor >= _VERSIONS["v1beta1"]:
        text = f"This version of the {kind.lower()} endpoint is deprecated. Please use a newer version."
        headers = (("Warning", f'299 - "{text}"'),)
    if media == YAML:
        from actors.apiserver._render import to_yaml

        return HttpReply(200, YAML, to_yaml(shown), headers)
    return HttpReply(200, JSON, orjson.dumps(shown), headers)


def _status(server: ApiServer, paths: list[str]) -> Object:
    from actors.apiserver._paths import version_info

    version = version_info(server.core.config.minor)
    folders = {"/" + path.split("/")[1] for path in paths if path.strip("/")}
    return {
        "startTime": _moment(server.started_at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "uptimeSeconds": _uptime(server),
        "goVersion": version["goVersion"] or f"python{platform.python_version()}",
        "binaryVersion": version["gitVersion"].removeprefix("v"),
        "emulationVersion": f"1.{server.core.config.minor}",
        "paths": sorted(folders - set(_NO_PLACES)),
    }


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _uptime(server: ApiServer) -> int:
    return max(0, int(server.clock.now() - server.started_at))


def _text(server: ApiServer, kind: str, paths: list[str]) -> str:
    head = f"\n{COMPONENT} {kind.lower()}\n{_WARNING}\n"
    if kind == "Flagz":
        return head + "".join(f"{name}={value}\n" for name, value in sorted(_flags(server.core.config).items()))
    found, up = _status(server, paths), _uptime(server)
    return (
        f"{head}\nStarted: {_moment(server.started_at).strftime('%a %b %e %H:%M:%S UTC %Y')}\n"
        f"Up: {up // 3600} hr {up // 60 % 60:02d} min {up % 60:02d} sec\n"
        f"Go version: {found['goVersion']}\nBinary version: {found['binaryVersion']}\n"
        f"Emulation version: {found['emulationVersion']}\nPaths: {' '.join(found['paths'])}\n"
    )


def _flags(config: ApiServerConfig) -> dict[str, str]:
    """The settings under the names that kube-apiserver's flags have."""

    def listed(values: Any) -> str:
        return f"[{','.join(map(str, values))}]"

    return {
        "admission-control-config-file": "",
        "advertise-address": config.advertise_address,
        "anonymous-auth": str(config.anonymous).lower(),
        "api-audiences": listed(config.api_audiences),
        "audit-log-path": str(config.audit_path or ""),
        "authorization-mode": listed(config.authorization_modes),
        "disable-admission-plugins": listed(config.disable_admission),
        "emulated-version": f"[kube=1.{config.minor}]",
        "enable-admission-plugins": listed(("NodeRestriction", *config.enable_admission)),
        "enable-priority-and-fairness": "true",
        "event-ttl": f"{config.event_ttl // 3600}h{config.event_ttl // 60 % 60}m{config.event_ttl % 60}s",
        "max-mutating-requests-inflight": str(config.max_mutating_requests_inflight),
        "max-requests-inflight": str(config.max_requests_inflight),
        "min-request-timeout": f"{config.min_watch_timeout:g}",
        "secure-port": str(config.advertise_port),
        "service-account-issuer": listed([config.service_account_issuer]),
        "service-cluster-ip-range": ",".join(config.service_cidrs),
        "service-node-port-range": f"{config.node_ports[0]}-{config.node_ports[1]}",
    }
