"""PodSecurity: a namespace's labels say how strict it is with pods.

Owns the labels, and when a pod or a workload is looked at; the checks are next door.

https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from actors.apiserver.admission._base import CREATE, UPDATE, Attributes, Plugin
from protocol import status

__all__ = ["PodSecurity"]

Object = dict[str, Any]
PREFIX = "pod-security.kubernetes.io/"
ENFORCED = f"{PREFIX}enforce-policy"
_MODES = ("enforce", "audit", "warn")
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

    enforce: Policy = Policy()
    audit: Policy = Policy()
    warn: Policy = Policy()

    @property
    def lax(self) -> bool:
        """Whether nothing is looked at in any mode."""
        return all(policy.level == "privileged" for policy in self)


def _minor(text: str) -> int | None:
    """The version of the rules that a text asks for; None when it is none."""
    if text == "latest":
        return LATEST
    match = _VERSION.match(text)
    return int(match[1]) if match is not None else None


def policies(labels: dict[str, str], defaults: Policies) -> tuple[Policies, list[_LabelError]]:
    """What labels ask for; broken ones make enforcement strict and the other modes silent."""
    errors: list[_LabelError] = []
    found: dict[str, Policy] = defaults._asdict()
    good: set[str] = set()
    for mode in _MODES:
        level, minor = found[mode]
        text = labels.get(f"{PREFIX}{mode}")
        if text is not None:
            if text in LEVELS:
                level = text
                good.add(mode)
            else:
                level = "restricted" if mode == "enforce" else "privileged"
                errors.append(_label_error(mode, text, "must be one of privileged, baseline, restricted"))
        text = labels.get(f"{PREFIX}{mode}-version")
        if text is not None:
            asked = _minor(text)
            if asked is None:
                errors.append(_label_error(f"{mode}-version", text, 'must be "latest" or "v1.x"'))
            minor = LATEST if asked is None else asked
        found[mode] = Policy(level, minor)
    enforce, warn = found["enforce"], found["warn"]
    stricter = LEVELS.index(enforce.level) > LEVELS.index(warn.level)
    if f"{PREFIX}warn" not in labels and "enforce" in good and stricter:
        found["warn"] = Policy(enforce.level, warn.minor if f"{PREFIX}warn-version" in labels else enforce.minor)
    return Policies(**found), errors


def _label_error(label: str, value: str, why: str) -> _LabelError:
    from actors.apiserver.patch import go_quote

    message = f"Invalid value: {go_quote(value)}: {why}"
    return _LabelError("FieldValueInvalid", f"metadata.labels[{PREFIX}{label}]", message)


def _details(findings: list[tuple[str, str]]) -> str:
    return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in findings)


def _defaults(configuration: Object) -> Policies:
    """The policies of namespaces without labels. Raises ValueError for what is no level or version."""
    given = configuration.get("defaults") or {}
    found = {}
    for mode in _MODES:
        level, version = given.get(mode) or "privileged", given.get(f"{mode}-version") or "latest"
        minor = _minor(version)
        if level not in LEVELS or minor is None:
            raise ValueError(f"PodSecurity: defaults.{mode}: {level}:{version} is no policy")
        found[mode] = Policy(level, minor)
    return Policies(**found)


class PodSecurity(Plugin):
    """Refuses pods, warns about workloads, checks the labels of namespaces."""

    name = "PodSecurity"

    def __init__(self, configuration: Object | None = None) -> None:
        """`configuration`: a PodSecurityConfiguration (pod-security.admission.config.k8s.io), with the
        policies of namespaces without labels and who is exempt. Raises ValueError."""
        configuration = configuration or {}
        self.defaults = _defaults(configuration)
        exempt = configuration.get("exemptions") or {}
        self.namespaces = frozenset(exempt.get("namespaces") or ())
        self.users = frozenset(exempt.get("usernames") or ())
        self.runtime_classes = frozenset(exempt.get("runtimeClasses") or ())

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
        if self._exempt(attributes):
            return
        namespace = attributes.lookup.get("", "namespaces", "", attributes.namespace)
        labels = (namespace or {}).get("metadata", {}).get("labels") or {}
        labelled = any(key.startswith(PREFIX) for key in labels)
        wanted, errors = policies(labels, self.defaults) if labelled else (self.defaults, [])
        if attributes.resource == "pods":
            if not errors and wanted.lax:
                attributes.audit_annotations[ENFORCED] = str(Policy())
                return
            if attributes.operation == UPDATE and not _significant(attributes.object, attributes.old_object or {}):
                return
            self._evaluate(attributes, wanted, errors, attributes.object, True)
            return
        if not errors and wanted.warn.level == wanted.audit.level == "privileged":
            return
        template: Any = attributes.object
        for word in _TEMPLATES[attributes.group, attributes.resource]:
            template = (template or {}).get(word)
        if template:
            self._evaluate(attributes, wanted, errors, template, False)

    def _exempt(self, attributes: Attributes) -> bool:
        reason = ""
        if attributes.namespace in self.namespaces:
            reason = "namespace"
        elif attributes.user.name in self.users:
            reason = "user"
        if reason:
            attributes.audit_annotations[f"{PREFIX}exempt"] = reason
        return bool(reason)

    def _evaluate(
        self, attributes: Attributes, wanted: Policies, errors: list[_LabelError], pod: Object, enforce: bool
    ) -> None:
        from actors.apiserver.admission._pod_security_checks import evaluate

        meta, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        notes, newest = attributes.audit_annotations, attributes.lookup.resources.minor
        if spec.get("runtimeClassName") in self.runtime_classes:
            notes[f"{PREFIX}exempt"] = "runtimeClass"
            return
        if errors:
            problem = status.aggregate([f"{error.field}: {error.message}" for error in errors])
            notes[f"{PREFIX}error"] = f"Failed to parse policy: {problem}"
        findings = evaluate(*wanted.audit, meta, spec, newest)
        if findings:
            notes[f"{PREFIX}audit-violations"] = f'would violate PodSecurity "{wanted.audit}": {_details(findings)}'
        if enforce:
            notes[ENFORCED] = str(wanted.enforce)
            findings = evaluate(*wanted.enforce, meta, spec, newest)
            if findings:
                why = f'violates PodSecurity "{wanted.enforce}": {_details(findings)}'
                raise status.forbidden("", "pods", attributes.name, why)
        findings = evaluate(*wanted.warn, meta, spec, newest)
        if findings:
            attributes.warnings.append(f'would violate PodSecurity "{wanted.warn}": {_details(findings)}')

    def _namespace(self, attributes: Attributes) -> None:
        new = (attributes.object or {})["metadata"].get("labels") or {}
        wanted, errors = policies(new, self.defaults)
        name = attributes.name
        if attributes.operation == CREATE:
            if errors:
                raise status.invalid("", "Namespace", name, errors)
            if name in self.namespaces:
                attributes.warnings += self._ignored(name, wanted, new)
            return
        old, old_errors = policies((attributes.old_object or {})["metadata"].get("labels") or {}, self.defaults)
        if errors and errors != old_errors:
            raise status.invalid("", "Namespace", name, errors)
        now, before = wanted.enforce, old.enforce
        if now == before or now.level == "privileged":
            return
        if now.minor == before.minor and LEVELS.index(now.level) < LEVELS.index(before.level):
            return
        if name in self.namespaces:
            attributes.warnings += self._ignored(name, wanted, new)
            return
        attributes.warnings += self._existing(attributes, now)

    def _ignored(self, name: str, wanted: Policies, labels: dict[str, str]) -> list[str]:
        """The warning that labels of an exempt namespace are without effect."""
        alike = (a == b or a.level == b.level == "privileged" for a, b in zip(wanted, self.defaults, strict=True))
        if wanted.lax or all(alike):
            return []
        asked = [
            f"{mode}={policy}"
            for mode, policy in wanted._asdict().items()
            if policy.level != "privileged" and (f"{PREFIX}{mode}" in labels or f"{PREFIX}{mode}-version" in labels)
        ]
        return [f'namespace "{name}" is exempt from Pod Security, and the policy ({", ".join(asked)}) will be ignored']

    def _existing(self, attributes: Attributes, policy: Policy) -> list[str]:
        """Warnings about pods that are there already."""
        from actors.apiserver.admission._pod_security_checks import evaluate

        pods = self._by_priority(attributes.lookup.list("", "pods", attributes.name))
        newest = attributes.lookup.resources.minor
        counts: dict[str, list[str]] = {}
        for pod in pods[:MAX_PODS_CHECKED]:
            findings = evaluate(*policy, pod.get("metadata") or {}, pod.get("spec") or {}, newest)
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

    def _by_priority(self, pods: Iterable[Object]) -> list[Object]:
        """One pod of each controller before its siblings, which are alike; without exempt ones."""
        first: list[Object] = []
        siblings: list[Object] = []
        seen: set[str] = set()
        for pod in pods:
            if (pod.get("spec") or {}).get("runtimeClassName") in self.runtime_classes:
                continue
            owners = pod["metadata"].get("ownerReferences") or ()
            controller = next((str(owner.get("uid")) for owner in owners if owner.get("controller")), "")
            (siblings if controller in seen else first).append(pod)
            if controller:
                seen.add(controller)
        return first + siblings


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
