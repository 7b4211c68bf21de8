"""ResourceQuota: what a namespace may hold, counted as objects are admitted.

A quota enforces what its *status* says, which the quota controller fills; admission only ever raises
`used`. Runs last, so that nothing is counted for a write that another plugin refuses.

https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from actors.apiserver.admission._quota_usage import in_scope, matches_scopes, matching, missing_compute, usage
from protocol import status
from protocol.api import StatusError
from protocol.quantity import format_quantity, parse_quantity, quantity_format

__all__ = ["ResourceQuota"]

Object = dict[str, Any]
Amounts = dict[str, str]


class ResourceQuota(Plugin):
    """Counts new objects, and what grows of services, claims and pods that are resized."""

    name = "ResourceQuota"

    def __init__(self, configuration: Object | None = None) -> None:
        """`configuration`: a ResourceQuotaConfiguration (apiserver.config.k8s.io), whose `limitedResources`
        may be used only where a quota covers them."""
        self.limited: list[Object] = list((configuration or {}).get("limitedResources") or ())

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Everything namespaced that can be counted."""
        if (group, resource) in (("", "events"), ("events.k8s.io", "events")):
            return False
        if operation == CREATE:
            return not subresource
        if operation != UPDATE or group:
            return False
        return (resource, subresource) in (("services", ""), ("persistentvolumeclaims", ""), ("pods", "resize"))

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        """Raise 403 when a quota would be exceeded; else raise what is used."""
        if not attributes.namespace or not attributes.kind.namespaced or attributes.object is None:
            return None
        quotas = [
            quota
            for quota in attributes.lookup.list("", "resourcequotas", attributes.namespace)
            if (quota.get("status") or {}).get("hard")
        ]
        if not quotas and not self.limited:
            return None
        return self._charge(attributes, quotas)

    async def _charge(self, attributes: Attributes, quotas: list[Object]) -> None:
        obj = attributes.object or {}
        group, resource = attributes.group, attributes.resource
        limited = [
            entry for entry in self.limited
            if (entry.get("apiGroup") or "", entry.get("resource")) == (group, resource)
        ]
        if limited:
            _require_cover(attributes, limited, quotas)
        interesting: list[tuple[Object, list[str]]] = []
        for quota in quotas:
            if not matches_scopes(quota.get("spec", {}), group, resource, obj):
                continue
            names = matching(group, resource, quota["status"]["hard"])
            if not names:
                continue
            lacking = missing_compute(group, resource, obj, names)
            if lacking:
                raise self._refuse(attributes, f"failed quota: {quota['metadata']['name']}: {lacking}")
            used = quota["status"].get("used") or {}
            if any(name not in used for name in names):
                raise self._refuse(
                    attributes,
                    f"status unknown for quota: {quota['metadata']['name']}, resources: {','.join(sorted(names))}",
                )
            interesting.append((quota, names))
        whole = delta = usage(group, resource, obj)
        old = attributes.old_object if attributes.operation == UPDATE else None
        if old is not None:
            delta = _growth(whole, usage(group, resource, old))
        charges = []
        for quota, names in interesting:
            counted = old is not None and matches_scopes(quota.get("spec", {}), group, resource, old)
            delta_here = _growth(delta if counted else whole, {})
            wanted = {name: delta_here[name] for name in names if name in delta_here}
            if wanted:
                self._check(attributes, quota, wanted)
                charges.append((quota["metadata"]["name"], wanted))
        if attributes.dry_run:
            return
        for name, wanted in charges:
            await self._write(attributes, name, wanted)

    @staticmethod
    def _refuse(attributes: Attributes, why: str) -> StatusError:
        return status.forbidden(attributes.group, attributes.resource, attributes.name, why)

    def _check(self, attributes: Attributes, quota: Object, wanted: Amounts) -> None:
        hard, used = quota["status"]["hard"], quota["status"].get("used") or {}
        over = [
            name
            for name, amount in wanted.items()
            if parse_quantity(amount) > 0
            and parse_quantity(used.get(name, "0")) + parse_quantity(amount) > parse_quantity(hard[name])
        ]
        if over:
            raise self._refuse(
                attributes,
                f"exceeded quota: {quota['metadata']['name']}, requested: {_shown(wanted, over)},"
                f" used: {_shown(used, over)}, limited: {_shown(hard, over)}",
            )

    async def _write(self, attributes: Attributes, name: str, wanted: Amounts) -> None:
        def change(quota: Object) -> Object | None:
            if not (quota.get("status") or {}).get("hard"):
                return None
            self._check(attributes, quota, {key: value for key, value in wanted.items() if key in quota["status"]["hard"]})
            used = dict(quota["status"].get("used") or {})
            for key, amount in wanted.items():
                used[key] = _add(used.get(key, "0"), amount)
            new = {**quota, "metadata": dict(quota["metadata"]), "status": {**quota["status"], "used": used}}
            _own(attributes, quota, new)
            return new

        await attributes.lookup.update("", "resourcequotas", attributes.namespace, name, change, "status")


def _require_cover(attributes: Attributes, limited: list[Object], quotas: list[Object]) -> None:
    """Raise 403 for the use of what is limited by default and bounded by no quota."""
    obj, group, resource = attributes.object or {}, attributes.group, attributes.resource
    covered: set[str] = set()
    scopes: list[Object] = []
    for quota in quotas:
        spec = quota.get("spec") or {}
        scopes += [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
        scopes += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
        if matches_scopes(spec, group, resource, obj):
            covered.update(matching(group, resource, quota["status"]["hard"]))
    used = [name for name, amount in usage(group, resource, obj).items() if parse_quantity(amount) > 0]
    words = [word for entry in limited for word in entry.get("matchContains") or ()]
    bare = sorted({name for name in used if any(word in name for word in words)} - covered)
    if bare:
        raise ResourceQuota._refuse(attributes, f"insufficient quota to consume: {','.join(bare)}")
    wanted = [term for entry in limited for term in entry.get("matchScopes") or () if in_scope(term, resource, obj)]
    met = [scope for scope in scopes if in_scope(scope, resource, obj)]
    open_terms = [term for term in wanted if not any(scope["scopeName"] == term.get("scopeName") for scope in met)]
    if open_terms:
        shown = " ".join(
            f"{{{term.get('scopeName', '')} {term.get('operator', '')} [{' '.join(term.get('values') or ())}]}}"
            for term in open_terms
        )
        raise ResourceQuota._refuse(attributes, f"insufficient quota to match these scopes: [{shown}]")


def _own(attributes: Attributes, old: Object, new: Object) -> None:
    """Counting is the API server's own write."""
    from actors.apiserver.managedfields import update

    type_ = attributes.lookup.schema.by_gvk("", "v1", "ResourceQuota")
    now = datetime.fromtimestamp(attributes.lookup.now(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    update(type_, old, new, "kube-apiserver", api_version="v1", now=now, subresource="status")


def _add(left: str, right: str) -> str:
    total = parse_quantity(left) + parse_quantity(right)
    style = quantity_format(left if parse_quantity(left) else right)
    return format_quantity(total, style)


def _growth(new: Amounts, old: Amounts) -> Amounts:
    """What there is more of. What shrinks is given back by the quota controller, never here."""
    out: Amounts = {}
    for name, text in new.items():
        number = parse_quantity(text) - parse_quantity(old.get(name, "0"))
        if number > Decimal(0):
            out[name] = format_quantity(number, quantity_format(text))
    return out


def _shown(amounts: Amounts, names: list[str]) -> str:
    return ",".join(f"{name}={amounts.get(name, '0')}" for name in sorted(names))
