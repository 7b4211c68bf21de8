"""What a node may report about a pod.

Owns the validation of a PodStatus against the one before.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._addresses import parse_ip, strict_ip
from actors.apiserver.strategies._errors import FieldError, duplicate, forbidden, invalid
from actors.apiserver.strategies._meta import immutable
from protocol.names import dns1123_subdomain, qualified_name

__all__ = ["validate_status"]

Object = dict[str, Any]

_NOT_COUNTED = frozenset({"PodScheduled", "Ready", "Initialized"})
_NON_NEGATIVE = "must be a non-negative integer"
_NO_WAY_BACK = "may not be transitioned to non-terminated state"
_ONE_PER_FAMILY = "may specify no more than one IP for each IP family"


def validate_status(new: Object, old: Object) -> list[FieldError]:
    """A pod's new status (metadata is checked elsewhere)."""
    now, was = new.get("status") or {}, old.get("status") or {}
    spec = old["spec"]
    errors = _conditions(now.get("conditions") or [], "status.conditions")
    if new["spec"].get("nodeName", "") != spec.get("nodeName", ""):
        errors.append(forbidden("status.nodeName", "may not be changed directly"))
    errors += _nominated(now.get("nominatedNodeName", ""), was.get("nominatedNodeName", ""), spec)
    if now.get("observedGeneration", 0) < 0:
        at = "status.observedGeneration"
        errors.append(invalid(at, now["observedGeneration"], _NON_NEGATIVE))
    errors += immutable(now.get("qosClass", ""), was.get("qosClass", ""), "status.qosClass")
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        errors += _transitions(kind, now.get(kind) or [], was.get(kind) or [], spec)
    errors += _claims(now, new["spec"])
    errors += _addresses(now, was, "podIPs")
    hosts = now.get("hostIPs") or []
    if hosts and now.get("hostIP", "") != hosts[0].get("ip", ""):
        at = "status.hostIPs[0].ip"
        errors.append(invalid(at, hosts[0].get("ip", ""), "must be equal to `hostIP`"))
    return errors + _addresses(now, was, "hostIPs")


def _conditions(conditions: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, condition in enumerate(conditions):
        at = f"{path}[{index}]"
        if condition.get("observedGeneration", 0) < 0:
            number = condition["observedGeneration"]
            errors.append(invalid(at + ".observedGeneration", number, _NON_NEGATIVE))
        kind = condition.get("type", "")
        if kind not in _NOT_COUNTED:
            errors += [invalid(at + ".Type", kind, message) for message in qualified_name(kind)]
    return errors


def _nominated(new: str, old: str, spec: Object) -> list[FieldError]:
    if not new or new == old:
        return []
    at = "status.nominatedNodeName"
    errors = [invalid(at, new, message) for message in dns1123_subdomain(new)]
    if spec.get("nodeName"):
        errors.append(forbidden(at, "may not be set on pods that are already bound to a node"))
    return errors


def _restarts(kind: str, name: str, spec: Object, exit_code: int) -> bool:
    """Whether a container that ended with this code may run again."""
    policy = spec.get("restartPolicy", "Always")
    key = "containers" if kind == "containerStatuses" else "initContainers"
    own = next((c for c in spec.get(key) or () if c.get("name") == name), None)
    for rule in (own or {}).get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        listed = exit_code in (codes.get("values") or ())
        if listed == (codes.get("operator") == "In"):
            return True
    if kind == "initContainerStatuses":
        if policy == "Always" or (own or {}).get("restartPolicy") == "Always":
            return True
        return exit_code != 0 and policy == "OnFailure"
    if own is None:
        return False
    policy = own.get("restartPolicy", policy)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _may_begin_anew(spec: Object) -> bool:
    """Whether a container's end may restart all of them, completed ones too (KEP-5532)."""
    return any(
        rule.get("action") == "RestartAllContainers"
        for group in ("initContainers", "containers")
        for container in spec.get(group) or ()
        for rule in container.get("restartPolicyRules") or ()
    )


def _transitions(
    kind: str, new: list[Object], old: list[Object], spec: Object
) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind != "ephemeralContainerStatuses" and _may_begin_anew(spec):
        return errors
    for index, before in enumerate(old):
        terminated = (before.get("state") or {}).get("terminated")
        if terminated is None:
            continue
        for after in new:
            if after.get("name") != before.get("name"):
                continue
            if "terminated" not in (after.get("state") or {}):
                name, code = before.get("name", ""), terminated.get("exitCode", 0)
                if kind == "ephemeralContainerStatuses" or not _restarts(kind, name, spec, code):
                    errors.append(forbidden(f"status.{kind}[{index}].state", _NO_WAY_BACK))
            break
    return errors


def _claims(status: Object, spec: Object) -> list[FieldError]:
    errors: list[FieldError] = []
    known = {claim.get("name") for claim in spec.get("resourceClaims") or ()}
    seen: set[str] = set()
    for index, claim in enumerate(status.get("resourceClaimStatuses") or ()):
        at = f"status.resourceClaimStatuses[{index}].name"
        name = claim.get("name", "")
        if name not in known:
            detail = "must match the name of an entry in `spec.resourceClaims`"
            errors.append(invalid(at, name, detail))
        if name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
        target = claim.get("resourceClaimName")
        if target is not None:
            errors += [invalid(at, target, message) for message in dns1123_subdomain(target)]
    return errors


def _addresses(now: Object, was: Object, kind: str) -> list[FieldError]:
    given = [entry.get("ip", "") for entry in now.get(kind) or ()]
    before = [entry.get("ip", "") for entry in was.get(kind) or ()]
    errors: list[FieldError] = []
    for index, address in enumerate(given):
        if address not in before:
            at = f"status.{kind}[{index}]"
            errors += [invalid(at, address, message) for message in strict_ip(address)]
    if len(given) > 1:
        parsed = [parse_ip(address) for address in given]
        families = {address.version for address in parsed if address is not None}
        if len(given) > 2 or len(families) != 2:
            shown = [{"IP": address} for address in given]
            errors.append(invalid(f"status.{kind}", shown, _ONE_PER_FAMILY))
    return errors
