"""PodSecurity: a namespace's labels say how strict it is with pods.

Owns the labels, and when a pod or a workload is looked at; the checks are next door.

https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import status

__all__ = ["PodSecurity"]

Object = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
LEVELS = ("privileged", "baseline", "restricted")
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)\Z")
_IGNORED = ("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status")
_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "podtemplates"): ("template",),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
}
MAX_PODS_CHECKED = 3000
LATEST = 10_000
"""Stands for the newest minor version of the rules."""


class _LabelError(NamedTuple):
    type: str
    field: str
    message: str


class Policy(NamedTuple):
    """Level and version of one mode."""

    level: str = "privileged"
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"


class Policies(NamedTuple):
    """The three modes of a namespace."""

    enforce: Policy
    audit: Policy
    warn: Policy


def policies(labels: dict[str, str]) -> tuple[Policies, list[_LabelError]]:
    """What labels ask for; broken ones make enforcement strict and the other modes silent."""
    errors: list[_LabelError] = []
    found: dict[str, Policy] = {}
    good: set[str] = set()
    for mode in ("enforce", "audit", "warn"):
        level, minor = "privileged", LATEST
        text = labels.get(f"{PREFIX}{mode}")
        if text is not None:
            if text in LEVELS:
                level = text
                good.add(mode)
            else:
                level = "restricted" if mode == "enforce" else "privileged"
                errors.append(_label_error(mode, text, "must be one of privileged, baseline, restricted"))
        text = labels.get(f"{PREFIX}{mode}-version")
        if text is not None and text != "latest":
            match = _VERSION.match(text)
            if match is None:
                errors.append(_label_error(f"{mode}-version", text, 'must be "latest" or "v1.x"'))
            else:
                minor = int(match[1])
        found[mode] = Policy(level, minor)
    enforce = found["enforce"]
    if f"{PREFIX}warn" not in labels and "enforce" in good and enforce.level != "privileged":
        minor = found["warn"].minor if f"{PREFIX}warn-version" in labels else enforce.minor
        found["warn"] = Policy(enforce.level, minor)
    return Policies(enforce, found["audit"], found["warn"]), errors


def _label_error(label: str, value: str, why: str) -> _LabelError:
    from actors.apiserver.patch import go_quote

    message = f"Invalid value: {go_quote(value)}: {why}"
    return _LabelError("FieldValueInvalid", f"metadata.labels[{PREFIX}{label}]", message)


def _details(findings: list[tuple[str, str]]) -> str:
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in findings)


class PodSecurity(Plugin):
    """Refuses pods, warns about workloads, checks the labels of namespaces."""

    name = "PodSecurity"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """Writes of pods, of what makes pods, and of namespaces."""
        if operation not in (CREATE, UPDATE):
            return False
        if (group, resource) == ("", "pods"):
            return subresource not in _IGNORED
        return not subresource and ((group, resource) == ("", "namespaces") or (group, resource) in _TEMPLATES)

    def validate(self, attributes: Attributes) -> None:
        """Raise 403 (pods) or 422 (labels); add warnings."""
        if attributes.object is None:
            return
        if attributes.resource == "namespaces":
            self._namespace(attributes)
            return
        namespace = attributes.lookup.get("", "namespaces", "", attributes.namespace)
        labels = (namespace or {}).get("metadata", {}).get("labels") or {}
        if not any(key.startswith(PREFIX) for key in labels):
            return
        wanted, _ = policies(labels)
        if attributes.resource == "pods":
            if attributes.operation == UPDATE and not _significant(attributes.object, attributes.old_object or {}):
                return
            self._evaluate(attributes, wanted, attributes.object, True)
            return
        template: Any = attributes.object
        for word in _TEMPLATES[attributes.group, attributes.resource]:
            template = (template or {}).get(word)
        if template:
            self._evaluate(attributes, wanted, template, False)

    def _evaluate(self, attributes: Attributes, wanted: Policies, pod: Object, enforce: bool) -> None:
        from actors.apiserver.admission._pod_security_checks import evaluate

        meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        notes = attributes.audit_annotations
        if enforce:
            notes["pod-security.kubernetes.io/enforce-policy"] = str(wanted.enforce)
            findings = evaluate(*wanted.enforce, meta, spec)
            if findings:
                why = f'violates PodSecurity "{wanted.enforce}": {_details(findings)}'
                raise status.forbidden("", "pods", attributes.name, why)
        findings = evaluate(*wanted.audit, meta, spec)
        if findings:
            notes["pod-security.kubernetes.io/audit-violations"] = (
                f'would violate PodSecurity "{wanted.audit}": {_details(findings)}'
            )
        findings = evaluate(*wanted.warn, meta, spec)
        if findings:
            attributes.warnings.append(f'would violate PodSecurity "{wanted.warn}": {_details(findings)}')

    def _namespace(self, attributes: Attributes) -> None:
        new = (attributes.object or {})["metadata"].get("labels") or {}
        wanted, errors = policies(new)
        if attributes.operation == CREATE:
            if errors:
                raise status.invalid("", "Namespace", attributes.name, errors)
            return
        old, old_errors = policies((attributes.old_object or {})["metadata"].get("labels") or {})
        if errors and errors != old_errors:
            raise status.invalid("", "Namespace", attributes.name, errors)
        now, before = wanted.enforce, old.enforce
        if now == before or now.level == "privileged":
            return
        if now.minor == before.minor and LEVELS.index(now.level) < LEVELS.index(before.level):
            return
        attributes.warnings += self._existing(attributes, now)

    @staticmethod
    def _existing(attributes: Attributes, policy: Policy) -> list[str]:
        """Warnings about pods that are there already."""
        from actors.apiserver.admission._pod_security_checks import evaluate

        pods = list(attributes.lookup.list("", "pods", attributes.name))
        counts: dict[str, list[str]] = {}
        for pod in pods[:MAX_PODS_CHECKED]:
            findings = evaluate(*policy, pod.get("metadata") or {}, pod.get("spec") or {})
            if findings:
                counts.setdefault(", ".join(reason for reason, _ in findings), []).append(pod["metadata"]["name"])
        out = []
        if len(pods) > MAX_PODS_CHECKED:
            out.append(
                "new PodSecurity enforce level only checked against the first"
                f" {MAX_PODS_CHECKED} of {len(pods)} existing pods"
            )
        if counts:
            out.append(
                f'existing pods in namespace "{attributes.name}" violate the new PodSecurity enforce level "{policy}"'
            )
        lines = []
        for reason, names in counts.items():
            more = len(names) - 1
            also = "" if not more else f" (and {more} other {'pod' if more == 1 else 'pods'})"
            lines.append(f"{min(names)}{also}: {reason}")
        return out + sorted(lines)


def _significant(new: Object, old: Object) -> bool:
    """Whether an update can matter: containers added, or images changed."""
    now, was = new.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        a, b = now.get(kind) or [], was.get(kind) or []
        if [c.get("image") for c in a] != [c.get("image") for c in b]:
            return True
    before = {c.get("name"): c.get("image") for c in was.get("ephemeralContainers") or ()}
    return any(
        c.get("name") not in before or before[c.get("name")] != c.get("image")
        for c in now.get("ephemeralContainers") or ()
    )
