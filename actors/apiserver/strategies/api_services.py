"""APIService: which server answers for a group and version.

Owns its name rule, validation, the condition of local services, and columns
(`k8s.io/kube-aggregator`). Forwarding requests is not its matter.
"""

from __future__ import annotations

import base64
from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import FieldError, invalid, not_supported, quote, required
from actors.apiserver.strategies._meta import validate_meta
from protocol.names import (
    dns1035_label,
    dns1123_subdomain,
    path_segment_name,
    port_number,
)

__all__ = ["APIServiceStrategy"]

_STATUSES = ("True", "False", "Unknown")
_MAX_GROUP_PRIORITY = 20000
_MAX_VERSION_PRIORITY = 1000


class APIServiceStrategy(Strategy):
    """APIService."""

    has_status = True
    status_keeps_metadata = True
    allow_unconditional_update = False

    def default(self, obj: Object) -> None:
        service = (obj.get("spec") or {}).get("service")
        if service is not None and service.get("port") is None:
            service["port"] = 443

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        """Local services are available from the start."""
        if old is None and (new.get("spec") or {}).get("service") is None:
            condition = {
                "type": "Available",
                "status": "True",
                "lastTransitionTime": ctx.rfc3339,
                "reason": "Local",
                "message": "Local APIServices are always available",
            }
            new["status"] = {"conditions": [condition]}

    def check(self, obj: Object) -> list[FieldError]:
        spec = obj.get("spec") or {}
        group, version = spec.get("group", ""), spec.get("version", "")
        expected = f"{version}.{group}"

        def rule(name: str, prefix: bool) -> tuple[str, ...]:
            if messages := path_segment_name(name, prefix):
                return messages
            if name == expected:
                return ()
            return (f'must be `spec.version+"."+spec.group`: {quote(expected)}',)

        errors = validate_meta(obj["metadata"], False, rule)
        if not group and version != "v1":
            detail = "only v1 may have an empty group and it better be legacy kube"
            errors.append(required("spec.group", detail))
        if group:
            errors += [invalid("spec.group", group, message) for message in dns1123_subdomain(group)]
        errors += [invalid("spec.version", version, message) for message in dns1035_label(version)]
        for key, limit in (
            ("groupPriorityMinimum", _MAX_GROUP_PRIORITY),
            ("versionPriority", _MAX_VERSION_PRIORITY),
        ):
            value = spec.get(key) or 0
            if not 0 < value <= limit:
                detail = f"must be positive and less than {limit}"
                errors.append(invalid(f"spec.{key}", value, detail))
        return errors + _check_service(spec)

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self.check(new)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old)
        for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
            status = condition.get("status", "")
            if status not in _STATUSES:
                at = f"status.conditions[{index}].status"
                errors.append(not_supported(at, status, _STATUSES))
        return errors

    def fields(self, obj: Object) -> dict[str, str]:
        """Selectable by namespace too, which is always empty."""
        return {**super().fields(obj), "metadata.namespace": obj["metadata"].get("namespace", "")}

    def columns(self) -> tuple[Column, ...]:
        return (
            NAME,
            Column("Service", "string", "", "The Service behind it; Local for the server itself."),
            Column("Available", "string", "", "Whether it answers."),
            AGE,
        )

    def row(self, obj: Object, now: float) -> list[Any]:
        service = (obj.get("spec") or {}).get("service")
        where = "Local"
        if service is not None:
            where = f"{service.get('namespace', '')}/{service.get('name', '')}"
        return [obj["metadata"].get("name", ""), where, _available(obj), self.age(obj, now)]


def _available(obj: Object) -> str:
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Available":
            status = str(condition.get("status", ""))
            return "True" if status == "True" else f"{status} ({condition.get('reason', '')})"
    return "Unknown"


def _check_service(spec: Object) -> list[FieldError]:
    service, bundle = spec.get("service"), spec.get("caBundle") or ""
    insecure = bool(spec.get("insecureSkipTLSVerify"))
    errors: list[FieldError] = []
    if service is None:
        if bundle:
            shown = f"{len(base64.b64decode(bundle))} bytes"
            detail = "local APIServices may not have a caBundle"
            errors.append(invalid("spec.caBundle", shown, detail))
        if insecure:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            errors.append(invalid("spec.insecureSkipTLSVerify", True, detail))
        return errors
    for key in ("namespace", "name"):
        if not service.get(key):
            errors.append(required(f"spec.service.{key}"))
    port = service.get("port") or 0
    if messages := port_number(port):
        detail = "port is not valid: " + ", ".join(messages)
        errors.append(invalid("spec.service.port", port, detail))
    if insecure and bundle:
        detail = "may not be true if caBundle is present"
        errors.append(invalid("spec.insecureSkipTLSVerify", True, detail))
    return errors
