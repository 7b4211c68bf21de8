"""Discovery: which groups, versions and resources are served, legacy and aggregated.

Owns the documents under `/api` and `/apis`. They are made from the table of resources and kept
until it changes.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from actors.apiserver._resources import Resources, Served
from protocol.kinds import GROUP_ORDER, Kind

__all__ = ["AGGREGATED", "Discovery"]

Object = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Discovery:
    """The discovery documents of one API server."""

    def __init__(self, resources: Resources, server_address: str) -> None:
        self.resources = resources
        self.server_address = server_address
        self._generation = -1
        self._made: dict[str, tuple[bytes, str]] = {}

    def document(self, key: str) -> tuple[bytes, str] | None:
        """A document and its ETag; None when there is none. Keys: `api`, `apis`, `api/v1`,
        `apis/GROUP`, `apis/GROUP/VERSION`, `aggregated/api`, `aggregated/apis`."""
        if self._generation != self.resources.generation:
            self._generation = self.resources.generation
            self._made = {}
        found = self._made.get(key)
        if found is None:
            made = self._make(key)
            if made is None:
                return None
            data = orjson.dumps(made)
            found = self._made[key] = (data, hashlib.sha512(data).hexdigest().upper())
        return found

    def _make(self, key: str) -> Object | None:
        parts = key.split("/")
        if key == "api":
            return {
                "kind": "APIVersions",
                "versions": ["v1"],
                "serverAddressByClientCIDRs": [
                    {"clientCIDR": "0.0.0.0/0", "serverAddress": self.server_address}
                ],
            }
        if key == "apis":
            groups = [self._group(name) for name in self.groups() if name]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if parts[0] == "aggregated":
            names = [name for name in self.groups() if bool(name) == (parts[1] == "apis")]
            items = [self._aggregated(name) for name in names]
            return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}
        if parts[0] == "apis" and len(parts) == 2:
            if parts[1] not in self.groups():
                return None
            return {"kind": "APIGroup", "apiVersion": "v1", **self._group(parts[1])}
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        return self._resource_list(group, version)

    def groups(self) -> list[str]:
        """The served groups: built-in ones in their fixed order, then custom ones by name."""
        present = {served.kind.group for served in self.resources} | {group for group, _ in self.resources.remote}
        custom = sorted(present.difference(GROUP_ORDER))
        return [group for group in GROUP_ORDER if group in present] + custom

    def versions(self, group: str) -> list[str]:
        """The served versions of a group, the preferred one first."""
        found: dict[str, bool] = {}
        for served in self.resources:
            if served.kind.group == group:
                found[served.kind.version] = found.get(served.kind.version, False) or served.custom is not None
        found.update({version: True for of, version in self.resources.remote if of == group})
        if any(found.values()):
            return sorted(found, key=_priority, reverse=True)
        return list(found)

    def _group(self, name: str) -> Object:
        versions = [
            {"groupVersion": f"{name}/{version}" if name else version, "version": version}
            for version in self.versions(name)
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _of(self, group: str, version: str) -> list[Served]:
        return [s for s in self.resources if s.kind.group == group and s.kind.version == version]

    def _resource_list(self, group: str, version: str) -> Object | None:
        served = self._of(group, version)
        remote = self.resources.remote.get((group, version))
        if not served and remote is None:
            return None
        resources: list[Object] = list(remote or ())
        for one in served:
            resources += _legacy(one.kind)
        out: Object = {"kind": "APIResourceList"}
        if group:
            out["apiVersion"] = "v1"
        out["groupVersion"] = f"{group}/{version}" if group else version
        out["resources"] = resources
        return out

    def _aggregated(self, group: str) -> Object:
        versions = [
            {
                "version": version,
                "resources": [
                    *(_entry(one) for one in self._of(group, version)),
                    *_remote_entries(group, version, self.resources.remote.get((group, version), [])),
                ],
                "freshness": "Current",
            }
            for version in self.versions(group)
        ]
        return {"metadata": {"name": group} if group else {}, "versions": versions}


def _priority(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions: v2 > v1 > v1beta2 > v1beta1 > v1alpha1 > others."""
    import re

    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version)
    if not match:
        return (0, 0, 0, version)
    level = {None: 3, "beta": 2, "alpha": 1}[match[2]]
    return (level, int(match[1]), int(match[3] or 0), "")


def _legacy(kind: Kind) -> list[Object]:
    main: Object = {
        "name": kind.resource,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    if kind.stored:
        main["storageVersionHash"] = kind.storage_version_hash
    out = [main]
    for sub in kind.subresources:
        entry: Object = {"name": f"{kind.resource}/{sub.name}", "singularName": "", "namespaced": kind.namespaced}
        if sub.group_in_discovery:
            entry["group"], entry["version"] = sub.group, sub.version
        entry["kind"] = sub.kind
        entry["verbs"] = list(sub.verbs)
        out.append(entry)
    return out


def _entry(served: Served) -> Object:
    kind = served.kind
    blank = served.custom is None
    out: Object = {
        "resource": kind.resource,
        "responseKind": _response(kind.kind, "" if blank else kind.group, "" if blank else kind.version),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        out["shortNames"] = list(kind.short_names)
    if kind.categories:
        out["categories"] = list(kind.categories)
    if kind.subresources:
        out["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response(
                    sub.kind,
                    sub.group if sub.group_in_discovery or not blank else "",
                    sub.version if sub.group_in_discovery or not blank else "",
                ),
                "verbs": list(sub.verbs),
            }
            for sub in kind.subresources
        ]
    return out


def _remote_entries(group: str, version: str, resources: list[Object]) -> list[Object]:
    """Another server's APIResourceList in the aggregated form."""
    out: dict[str, Object] = {}
    for one in resources:
        name, _, sub = one["name"].partition("/")
        response = _response(one["kind"], one.get("group") or group, one.get("version") or version)
        if sub:
            if name in out:
                entry = {"subresource": sub, "responseKind": response, "verbs": list(one.get("verbs") or ())}
                out[name].setdefault("subresources", []).append(entry)
            continue
        out[name] = {
            "resource": name, "responseKind": response, "scope": "Namespaced" if one.get("namespaced") else "Cluster",
            "singularResource": one.get("singularName", ""), "verbs": sorted(one.get("verbs") or ()),
        }
        for field in ("shortNames", "categories"):
            if one.get(field):
                out[name][field] = list(one[field])
    return list(out.values())


def _response(kind: str, group: str, version: str) -> Object:
    return {"group": group, "version": version, "kind": kind}
