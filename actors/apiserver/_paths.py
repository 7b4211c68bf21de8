"""Paths that are no resources: discovery, health, version, metrics, OpenAPI, OpenID.

Owns the list of these paths and what each answers.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from actors.apiserver._discovery import AGGREGATED, Discovery
from actors.apiserver._messages import HttpReply
from actors.apiserver._negotiate import JSON
from actors.apiserver._request import query_values
from protocol import status
from protocol.conditions import PATHS, PathCall

if TYPE_CHECKING:
    from actors.apiserver._core import Core
    from actors.apiserver._messages import HttpCall
    from actors.apiserver._server import ApiServer
    from protocol.api import UserInfo

__all__ = ["other_path", "version_info"]

_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_ZPAGES_SINCE = 36
_NOT_FOUND = HttpReply(404, _TEXT, b"404 page not found\n", (("x-content-type-options", "nosniff"),))
_HOOKS = (
    "start-apiserver-admission-initializer", "generic-apiserver-start-informers",
    "priority-and-fairness-config-consumer", "priority-and-fairness-filter", "storage-object-count-tracker-hook",
    "start-apiextensions-informers", "start-apiextensions-controllers", "crd-informer-synced",
    "start-system-namespaces-controller", "start-cluster-authentication-info-controller",
    "start-kube-apiserver-identity-lease-controller", "start-kube-apiserver-identity-lease-garbage-collector",
    "start-legacy-token-tracking-controller", "start-service-ip-repair-controllers", "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes", "priority-and-fairness-config-producer", "bootstrap-controller",
    "start-kubernetes-service-cidr-controller", "aggregator-reload-proxy-client-cert",
    "start-kube-aggregator-informers", "apiservice-status-local-available-controller",
    "apiservice-status-remote-available-controller", "apiservice-registration-controller",
    "apiservice-discovery-controller", "kube-apiserver-autoregistration",
)
_LATE_HOOKS = ("apiservice-openapi-controller", "apiservice-openapiv3-controller")
"""What upstream's server does after its start; here it is all done once requests are answered."""


def _checks(kind: str) -> tuple[str, ...]:
    first = ("ping", "log", "etcd", *(("etcd-readiness", "informer-sync") if kind == "readyz" else ()))
    hooks = [f"poststarthook/{hook}" for hook in _HOOKS]
    late = [f"poststarthook/{hook}" for hook in _LATE_HOOKS]
    return (*first, *hooks, "autoregister-completion", *late, *(("shutdown",) if kind == "readyz" else ()))


_PATCHES = {31: 14, 32: 11, 33: 7, 34: 3, 35: 1, 36: 2, 37: 0}


def version_info(minor: int) -> dict[str, str]:
    """What `/version` says."""
    return {
        "major": "1",
        "minor": str(minor),
        "emulationMajor": "1",
        "emulationMinor": str(minor),
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": str(minor - 1),
        "gitVersion": f"v1.{minor}.{_PATCHES.get(minor, 0)}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": platform.python_implementation().lower(),
        "platform": f"{platform.system().lower()}/{_ARCH.get(platform.machine(), platform.machine())}",
    }


_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}


async def other_path(
    server: ApiServer, core: Core, call: HttpCall, options: dict[str, str], user: UserInfo
) -> HttpReply:
    """Answer a path that names no resource."""
    path = call.path.rstrip("/") or "/"
    first = path.split("/", 2)[1]
    if first in ("api", "apis"):
        return _discovery(core, call, path)
    if first in ("healthz", "livez", "readyz"):
        return _health(server, path, call, options)
    if path == "/version":
        if call.method not in ("GET", "HEAD"):
            raise status.method_not_allowed()
        return HttpReply(200, JSON, orjson.dumps(version_info(core.config.minor), option=orjson.OPT_INDENT_2))
    if path == "/metrics":
        from actors.apiserver._metrics import metrics

        return HttpReply(200, _METRICS, metrics(server))
    if path == "/metrics/slis":
        from actors.apiserver._metrics import slis

        return HttpReply(200, _METRICS, ("\n".join(slis(server)) + "\n").encode())
    if path in ("/statusz", "/flagz") and core.config.minor >= _ZPAGES_SINCE:
        from actors.apiserver._zpages import zpage

        return zpage(server, call, path[1:].capitalize(), _root_paths(core))
    if path == "/debug/actors":  # ours alone; who may read it is RBAC's to say, as of all such paths
        stats = [msgspec.structs.asdict(found) for found in server.system.statistics()]
        return HttpReply(200, JSON, orjson.dumps({"time": server.clock.now(), "actors": stats}))
    if first == "openapi":
        from actors.apiserver._openapi import openapi

        return openapi(core, call, path, options)
    if path == "/.well-known/openid-configuration":
        return HttpReply(200, JSON, orjson.dumps(core.tokens.configuration()))
    if path == "/openid/v1/jwks":
        return HttpReply(200, "application/jwk-set+json", orjson.dumps(core.tokens.keys()))
    paths = server.system.world.get(PATHS, {})
    for prefix in paths:  # ours alone; RBAC has had its say
        if path == prefix or path.startswith(prefix + "/"):
            answer = await server.ask(paths[prefix], PathCall(call.method, path, call.query, call.body), None)
            return HttpReply(answer.code, JSON, answer.body)
    if path == "/":
        return HttpReply(200, JSON, orjson.dumps({"paths": _root_paths(core)}, option=orjson.OPT_INDENT_2))
    return _NOT_FOUND


_PLAIN = (("X-Content-Type-Options", "nosniff"),)
_STORAGE_CHECKS = ("etcd", "etcd-readiness")


def _health(server: ApiServer, path: str, call: HttpCall, options: dict[str, str]) -> HttpReply:
    """Health as a word, or check by check: `verbose`, any number of `exclude`s, or one check's own path."""
    core, count = server.core, server.counters.checked
    _, kind, *rest = path.split("/", 2)
    checks = _checks(kind)
    failing = _STORAGE_CHECKS if core.store.reads_anew else ()
    if rest:
        if rest[0] not in checks:
            return _NOT_FOUND
        if rest[0] in failing:
            return HttpReply(500, _TEXT, b"internal server error: storage is being read anew\n", _PLAIN)
        return HttpReply(200, _TEXT, b"ok", _PLAIN)
    excluded = dict.fromkeys(value for value in query_values(call.query, "exclude") if value)
    lines, failed = [], False
    for check in checks:
        if check in excluded:
            del excluded[check]
            lines.append(f"[+]{check} excluded: ok")
        elif check in failing:
            failed = True
            count(check, kind, False)
            lines.append(f"[-]{check} failed: reason withheld")
        else:
            count(check, kind, True)
            lines.append(f"[+]{check} ok")
    if excluded:
        names = ",".join(f'"{name}"' for name in sorted(excluded))
        lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    if failed:
        return HttpReply(500, _TEXT, "\n".join([*lines, f"{kind} check failed", ""]).encode(), _PLAIN)
    if "verbose" in options:
        return HttpReply(200, _TEXT, "\n".join([*lines, f"{kind} check passed", ""]).encode(), _PLAIN)
    return HttpReply(200, _TEXT, b"ok", _PLAIN)


def discovery_of(core: Core) -> Discovery:
    """The discovery documents of an API server."""
    found: Any = core.discovery
    if found is None:
        address = f"{core.config.advertise_address}:{core.config.advertise_port}"
        found = core.discovery = Discovery(core.resources, address)
    return found  # type: ignore[no-any-return]


def _discovery(core: Core, call: HttpCall, path: str) -> HttpReply:
    if call.method not in ("GET", "HEAD"):
        raise status.method_not_allowed()
    key = path.strip("/")
    content_type = JSON
    if key in ("api", "apis") and _wants_aggregated(call.headers.get("accept", "")):
        key, content_type = f"aggregated/{key}", AGGREGATED
    documents = discovery_of(core)
    found = documents.document(key) if key.count("/") <= 2 else None
    if found is None:
        parts = key.split("/")
        if (len(parts) > 2 and parts[1] in documents.groups()) or parts[0] == "api":
            raise status.page_not_found()
        return _NOT_FOUND
    data, tag = found
    if key == "api":
        host = call.headers.get("host")
        if host:
            data = data.replace(documents.server_address.encode(), host.encode())
    headers = (("ETag", f'"{tag}"'), ("Vary", "Accept"))
    if content_type == AGGREGATED and call.headers.get("if-none-match", "").strip('"') == tag:
        return HttpReply(304, content_type, b"", headers)
    return HttpReply(200, content_type, data, headers)


def _wants_aggregated(accept: str) -> bool:
    for clause in accept.split(","):
        words = dict(word.strip().partition("=")[::2] for word in clause.split(";"))
        if words.get("g") == "apidiscovery.k8s.io" and words.get("as") == "APIGroupDiscoveryList":
            if words.get("v") == "v2":
                return True
        elif clause.strip().startswith(JSON) and "as" not in words:
            return False
    return False


def _root_paths(core: Core) -> list[str]:
    documents = discovery_of(core)
    paths = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
    for group in documents.groups():
        if group:
            paths.append(f"/apis/{group}")
            paths += [f"/apis/{group}/{version}" for version in documents.versions(group)]
    for kind in ("healthz", "livez", "readyz"):
        paths.append(f"/{kind}")
        paths += [f"/{kind}/{check}" for check in _checks(kind)]
    if core.config.minor >= _ZPAGES_SINCE:
        paths += ["/flagz", "/statusz"]
    paths += ["/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/version"]
    return sorted(set(paths))
