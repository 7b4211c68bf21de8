"""Which backend a request is for.

Owns the meaning of Ingress rules, as pure data. It knows no endpoints and sends nothing. Facts:
https://kubernetes.io/docs/concepts/services-networking/ingress/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

__all__ = ["Backend", "Routes"]

Object = Mapping[str, Any]


class Backend(msgspec.Struct, frozen=True, order=True):
    """A port of a Service, by number or by name."""

    namespace: str
    service: str
    port: int | str


class _Path(msgspec.Struct, frozen=True):
    path: str
    exact: bool
    backend: Backend

    def fits(self, path: str) -> bool:
        """Prefixes are of whole elements: /foo is one of /foo/bar, not of /foobar."""
        if self.exact:
            return path == self.path
        prefix = self.path.rstrip("/")
        return path.rstrip("/") == prefix or path.startswith(f"{prefix}/")


class Routes:
    """All Ingresses. The most particular host counts, within it the longest path, exact ones first;
    of equals the one whose Ingress has the first name."""

    def __init__(self) -> None:
        self._ingresses: dict[str, Object] = {}
        self._hosts: dict[str, list[_Path]] = {}
        self._default: Backend | None = None

    def set(self, key: str, ingress: Object | None) -> None:
        """An Ingress `namespace/name` is there, or (None) has gone."""
        if ingress is None:
            self._ingresses.pop(key, None)
        else:
            self._ingresses[key] = ingress
        self._build()

    def _build(self) -> None:
        self._hosts, self._default = {}, None
        for key in sorted(self._ingresses):
            ingress = self._ingresses[key]
            namespace, spec = ingress["metadata"].get("namespace", ""), ingress.get("spec") or {}
            if spec.get("defaultBackend") and self._default is None:
                self._default = _backend(namespace, spec["defaultBackend"])
            for rule in spec.get("rules") or ():
                paths = self._hosts.setdefault((rule.get("host") or "").lower(), [])
                for entry in (rule.get("http") or {}).get("paths") or ():
                    backend = _backend(namespace, entry.get("backend") or {})
                    if backend is not None:
                        paths.append(_Path(entry.get("path") or "/", entry.get("pathType") == "Exact", backend))
        for paths in self._hosts.values():
            paths.sort(key=lambda p: (-len(p.path), not p.exact))

    def match(self, host: str, path: str) -> Backend | None:
        """The backend of a request; None when no rule and no default backend is for it."""
        host = _without_port(host).lower()
        _, dot, rest = host.partition(".")
        for name in (host, f"*.{rest}" if dot else "", ""):
            if name not in self._hosts:
                continue
            for entry in self._hosts[name]:
                if entry.fits(path):
                    return entry.backend
            if name:
                break  # the host has rules, and none for this path
        return self._default


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _backend(namespace: str, backend: Object) -> Backend | None:
    """None for what is no Service: a `resource` is left to controllers that know it."""
    service = backend.get("service")
    if not service:
        return None
    port = service.get("port") or {}
    return Backend(namespace, service["name"], port.get("number") or port.get("name") or 0)
