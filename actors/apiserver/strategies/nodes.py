"""Node.

Owns taints, pod CIDRs, what of a node may change, and its columns.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from actors.apiserver.strategies._addresses import cidr_problem
from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._errors import (
    FieldError,
    duplicate,
    forbidden,
    go_json,
    invalid,
)
from actors.apiserver.strategies._meta import validate_label_name
from actors.apiserver.strategies._resources import validate_amount
from actors.apiserver.strategies._warnings import node_label_warning
from actors.apiserver.strategies.pod_scheduling import validate_taint_effect
from protocol.names import label_value

__all__ = ["NodeStrategy", "validate_taints"]

_ROLE_PREFIX = "node-role.kubernetes.io/"
_POD_CIDRS = 'node updates may not change podCIDR except from "" to valid'


def validate_taints(taints: list[Object], path: str) -> list[FieldError]:
    """Taints of a node: unique by key and effect."""
    errors: list[FieldError] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        at = f"{path}[{index}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        errors += validate_label_name(key, at + ".key")
        if problems := label_value(value):
            errors.append(invalid(at + ".value", value, ";".join(problems)))
        errors += validate_taint_effect(effect, at + ".effect", allow_empty=False)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            detail = f"Duplicate value: {go_json(shown)}: taints must be unique by key and effect pair"
            errors.append(FieldError("FieldValueDuplicate", at, detail))
        seen.add((key, effect))
    return errors


def _validate_resources(node: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    status = node.get("status") or {}
    for kind in ("capacity", "allocatable"):
        for name, amount in (status.get(kind) or {}).items():
            errors += validate_amount(name, amount, f"status.{kind}.{name}")
    return errors


def _validate_cidrs(cidrs: list[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, cidr in enumerate(cidrs):
        errors += [invalid(f"spec.podCIDRs[{index}]", cidr, m) for m in cidr_problem(cidr)]
    if len(cidrs) > 1:
        families: set[int] = set()
        try:
            families.update(ipaddress.ip_network(cidr, strict=False).version for cidr in cidrs)
        except ValueError:
            bad = next(cidr for cidr in cidrs if cidr_problem(cidr))
            why = f'failed to parse cidr value:"{bad}" with error:invalid CIDR address: {bad}'
            detail = f"Internal error: invalid PodCIDRs. failed to check with dual stack with error:{why}"
            errors.append(FieldError("InternalError", "spec.podCIDRs", detail))
        if len(cidrs) > 2 or len(families) != 2:
            detail = "may specify no more than one CIDR for each IP family"
            errors.append(invalid("spec.podCIDRs", cidrs, detail))
    return errors


class NodeStrategy(Strategy):
    """Node. Its status may be given on creation: kubelets register themselves with it."""

    standard_finalizers_only = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if "podCIDR" in spec and "podCIDRs" not in spec:
            spec["podCIDRs"] = [spec["podCIDR"]]
        status = obj.setdefault("status", {})
        if status.get("capacity") is not None and status.get("allocatable") is None:
            status["allocatable"] = dict(status["capacity"])

    def prepare_for_update(self, new: Object, old: Object, ctx: Context) -> None:
        self.keep_status(new, old)
        super().prepare_for_update(new, old, ctx)

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj)
        spec = obj.get("spec") or {}
        errors += validate_taints(spec.get("taints") or [], "metadata.taints")
        errors += _validate_resources(obj)
        return errors + _validate_cidrs(spec.get("podCIDRs") or [])

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check(new) + self._check_change(new, old)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return self._check_change(new, old)

    def _check_change(self, new: Object, old: Object) -> list[FieldError]:
        errors = self.check_meta_update(new, old) + _validate_resources(new)
        seen: list[Object] = []
        for index, address in enumerate((new.get("status") or {}).get("addresses") or ()):
            if address in seen:
                shown = {"Type": address.get("type", ""), "Address": address.get("address", "")}
                errors.append(duplicate(f"status.addresses[{index}]", shown))
            seen.append(address)
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        was, now = before.get("podCIDRs") or [], spec.get("podCIDRs") or []
        if was and len(was) != len(now):
            errors.append(forbidden("spec.podCIDRs", _POD_CIDRS))
        elif was:
            changed = [1 for one, two in zip(was, now, strict=True) if one != two]
            errors += [forbidden("spec.podCIDRs", _POD_CIDRS) for _ in changed]
        if before.get("providerID") and before["providerID"] != spec.get("providerID"):
            detail = 'node updates may not change providerID except from "" to valid'
            errors.append(forbidden("spec.providerID", detail))
        errors += validate_taints(spec.get("taints") or [], "metadata.taints")
        if spec.get("externalID") != before.get("externalID"):
            errors.append(forbidden("spec.externalID", "may not be updated"))
        return errors

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out = []
        spec = new.get("spec") or {}
        if spec.get("configSource") is not None:
            out.append(
                "spec.configSource: the feature is removed; the field is ignored and will be "
                "removed in a future release"
            )
        if spec.get("externalID"):
            out.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
        for key in new["metadata"].get("labels") or ():
            if old is None and key.startswith("node-role.kubernetes.io/master"):
                text = node_label_warning(key)
                out.append(f"metadata.labels[{key}]: {text}") if text else None
        return out

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        status, info = obj.get("status") or {}, (obj.get("status") or {}).get("nodeInfo") or {}
        return [
            obj["metadata"].get("name", ""),
            _status_text(obj),
            ",".join(_roles(obj["metadata"].get("labels") or {})) or "<none>",
            self.age(obj, now),
            info.get("kubeletVersion", ""),
            _address(status, "InternalIP"),
            _address(status, "ExternalIP"),
            info.get("osImage") or "<unknown>",
            info.get("kernelVersion") or "<unknown>",
            info.get("containerRuntimeVersion") or "<unknown>",
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        unschedulable = (obj.get("spec") or {}).get("unschedulable")
        return {**super().fields(obj), "spec.unschedulable": "true" if unschedulable else "false"}


def _status_text(node: Object) -> str:
    ready = ""
    for condition in (node.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Ready":
            ready = "Ready" if condition.get("status") == "True" else "NotReady"
    text = ready or "Unknown"
    return f"{text},SchedulingDisabled" if (node.get("spec") or {}).get("unschedulable") else text


def _roles(labels: dict[str, str]) -> list[str]:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in labels if key.startswith(_ROLE_PREFIX)}
    roles.add(labels.get("kubernetes.io/role", ""))
    return sorted(role for role in roles if role)


def _address(status: Object, kind: str) -> str:
    for address in status.get("addresses") or ():
        if address.get("type") == kind:
            return str(address.get("address", ""))
    return "<none>"


_COLUMNS = (
    NAME,
    Column("Status", "string", "", "The status of the node"),
    Column("Roles", "string", "", "The roles of the node"),
    AGE,
    Column("Version", "string", "", "Version of the kubelet."),
    Column("Internal-IP", "string", "", "Address inside of the cluster.", 1),
    Column("External-IP", "string", "", "Address outside of the cluster.", 1),
    Column("OS-Image", "string", "", "Operating system.", 1),
    Column("Kernel-Version", "string", "", "Version of the kernel.", 1),
    Column("Container-Runtime", "string", "", "Name and version of the container runtime.", 1),
)
