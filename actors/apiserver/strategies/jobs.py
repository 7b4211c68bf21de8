"""Job.

Owns the generated selector, completion modes, failure and success policies, what may change, status
rules and columns.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._dump import internal_form
from actors.apiserver.strategies._errors import FieldError, invalid, required
from actors.apiserver.strategies._meta import immutable
from actors.apiserver.strategies._selectors import (
    compile_selector,
    format_selector,
    selector_form,
    validate_selector,
)
from actors.apiserver.strategies._tables import CONTAINERS, IMAGES, SELECTOR, container_cells
from actors.apiserver.strategies._time import age, parse_time
from actors.apiserver.strategies._workloads import LABELS_MISMATCH, name_warning, sorted_labels
from actors.apiserver.strategies.job_spec import job_warnings, validate_job_spec
from actors.apiserver.strategies.job_status import condition_true, validate_job_status
from actors.apiserver.strategies.pod_defaults import default_template, prepare_pod_spec
from protocol.names import dns1123_label

__all__ = ["JobStrategy"]

_UID = "batch.kubernetes.io/controller-uid"
_NAME = "batch.kubernetes.io/job-name"
_CONDITIONS = (
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("", "Terminating"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


class JobStrategy(Strategy):
    """Job."""

    has_status = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if spec.get("completions") is None and spec.get("parallelism") is None:
            spec["completions"] = spec["parallelism"] = 1
        spec.setdefault("parallelism", 1)
        if spec.get("backoffLimit") is None:
            spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else 2**31 - 1
        template = spec.setdefault("template", {"metadata": {}, "spec": {}})
        _default_labels(obj)
        spec.setdefault("completionMode", "NonIndexed")
        spec.setdefault("suspend", False)
        policy = spec.get("podFailurePolicy")
        if spec.get("podReplacementPolicy") is None:
            spec["podReplacementPolicy"] = "TerminatingOrFailed" if policy is None else "Failed"
        spec.setdefault("manualSelector", False)
        for rule in (policy or {}).get("rules") or ():
            for pattern in rule.get("onPodConditions") or ():
                if not pattern.get("status"):
                    pattern["status"] = "True"
        default_template(template)

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["spec"]["template"]["spec"], old and old["spec"]["template"]["spec"], ctx.minor)
        if old is None and not new["spec"].get("manualSelector"):
            _generate_selector(new)

    def canonicalize(self, obj: Object) -> None:
        """Stored jobs are read with defaults, which now find the generated labels."""
        _default_labels(obj)

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj) + _check_generated(obj)
        errors += _check_selected_spec(obj["spec"])
        spec = obj["spec"]
        completions = spec.get("completions") or 0
        if spec.get("completionMode") == "Indexed" and completions > 0:
            name = f"{obj['metadata'].get('name', '')}-{completions - 1}"
            detail = f"will not able to create pod with invalid DNS label: {name}"
            if dns1123_label(name):
                own = obj["metadata"].get("name", "")
                errors.append(invalid("metadata.name", own, detail))
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        """The whole job is checked, then its spec once more: upstream reports both."""
        errors = self.check(new) + self.check_meta_update(new, old)
        errors += _check_selected_spec(new["spec"])
        return errors + _check_changes(new, old)

    def check_status(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + validate_job_status(new, old)

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        spec = new["spec"]
        if old is not None and new["metadata"].get("generation") == old["metadata"].get("generation"):
            return []
        out = name_warning(new["metadata"]) if old is None else []
        return out + job_warnings(spec, "spec")

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        done, wanted = status.get("succeeded", 0), spec.get("completions")
        if wanted is not None:
            completions = f"{done}/{wanted}"
        else:
            parallel = spec.get("parallelism") or 0
            completions = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
        return [
            obj["metadata"].get("name", ""),
            _status_text(obj, status),
            completions,
            _duration(status, now),
            self.age(obj, now),
            *container_cells((spec.get("template") or {}).get("spec")),
            format_selector(spec.get("selector")),
        ]

    def fields(self, obj: Object) -> dict[str, str]:
        succeeded = (obj.get("status") or {}).get("succeeded", 0)
        return {**super().fields(obj), "status.successful": str(succeeded)}


def _default_labels(job: Object) -> None:
    """A job without labels has those of its pods."""
    labels = (job["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


def _generate_selector(job: Object) -> None:
    """Labels of the pods and the selector for them are made from the job's uid."""
    spec, meta = job["spec"], job["metadata"]
    template = spec["template"].setdefault("metadata", {})
    labels = dict(template.get("labels") or {})
    name, uid = meta.get("name", ""), meta.get("uid", "")
    for key, value in (("job-name", name), (_NAME, name), ("controller-uid", uid), (_UID, uid)):
        labels.setdefault(key, value)
    template["labels"] = labels
    selector = dict(spec.get("selector") or {})
    match = dict(selector.get("matchLabels") or {})
    match.setdefault(_UID, uid)
    selector["matchLabels"] = match
    spec["selector"] = selector


def _has_label(template: Object, key: str, value: str) -> list[FieldError]:
    labels = (template.get("metadata") or {}).get("labels") or {}
    at = f"spec.template.metadata.labels[{key}]"
    if key not in labels:
        return [required(at, f"must be '{value}'")]
    if labels[key] != value:
        return [invalid(at, sorted_labels(labels), f"must be '{value}'")]
    return []


def _check_generated(job: Object) -> list[FieldError]:
    spec, meta = job["spec"], job["metadata"]
    selector = spec.get("selector")
    if spec.get("manualSelector") or selector is None:
        return []
    name, uid = meta.get("name", ""), meta.get("uid", "")
    expected = {"controller-uid": uid, "job-name": name, _UID: uid, _NAME: name}
    errors: list[FieldError] = [] if uid else [required("metadata.uid")]
    for key, value in expected.items():
        errors += _has_label(spec["template"], key, value)
    compiled = compile_selector(selector)
    if compiled is not None and not compiled.matches(expected):
        shown = selector_form(selector)
        errors.append(invalid("spec.selector", shown, "`selector` not auto-generated"))
    return errors


def _check_selected_spec(spec: Object) -> list[FieldError]:
    errors = validate_job_spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        errors.append(required("spec.selector"))
    else:
        errors += validate_selector(selector, "spec.selector")
    compiled = compile_selector(selector)
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    if compiled is not None and not compiled.matches(labels):
        at = "spec.template.metadata.labels"
        errors.append(invalid(at, sorted_labels(labels), LABELS_MISMATCH))
    return errors


_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def _check_template(new: Object, old: Object, mutable: bool) -> list[FieldError]:
    """The template is fixed, but a job that has not started may be steered to other nodes."""
    template, before = new["spec"]["template"], old["spec"]["template"]
    if mutable:
        spec, was = dict(template["spec"]), before["spec"]
        for key in _SCHEDULING:
            spec.pop(key, None)
            if key in was:
                spec[key] = was[key]
        affinity = {**(spec.get("affinity") or {})}
        affinity.pop("nodeAffinity", None)
        if "nodeAffinity" in (was.get("affinity") or {}):
            affinity["nodeAffinity"] = was["affinity"]["nodeAffinity"]
        if affinity or "affinity" in was:
            spec["affinity"] = affinity
        else:
            spec.pop("affinity", None)
        meta = dict(template.get("metadata") or {})
        for key in ("labels", "annotations"):
            meta.pop(key, None)
            if key in (before.get("metadata") or {}):
                meta[key] = before["metadata"][key]
        template = {**template, "spec": spec, "metadata": meta}
    if template == before:
        return []
    shown = internal_form("core.PodTemplateSpec", template)
    return [invalid("spec.template", shown, "field is immutable")]


def _check_changes(new: Object, old: Object) -> list[FieldError]:
    spec, before = new["spec"], old["spec"]
    errors: list[FieldError] = []
    now, was = spec.get("completions"), before.get("completions")
    if spec.get("completionMode") == "Indexed":
        if now != was and now is not None and now != spec.get("parallelism"):
            detail = "can only be modified in tandem with spec.parallelism"
            errors.append(invalid("spec.completions", now, detail))
    else:
        errors += immutable(now, was, "spec.completions")
    errors += immutable(
        selector_form(spec.get("selector")), selector_form(before.get("selector")), "spec.selector"
    )
    started = (old.get("status") or {}).get("startTime") is not None
    errors += _check_template(new, old, bool(before.get("suspend")) and not started)
    errors += immutable(spec.get("completionMode"), before.get("completionMode"), "spec.completionMode")
    errors += _same_policy(spec, before, "podFailurePolicy", "batch.PodFailurePolicy")
    for key in ("backoffLimitPerIndex", "managedBy"):
        errors += immutable(spec.get(key), before.get(key), f"spec.{key}")
    return errors + _same_policy(spec, before, "successPolicy", "batch.SuccessPolicy")


def _same_policy(spec: Object, before: Object, key: str, struct: str) -> list[FieldError]:
    """A policy that stays as it is; errors show the API server's internal struct."""
    policy = spec.get(key)
    if policy == before.get(key):
        return []
    shown = None if policy is None else internal_form(struct, policy)
    return [invalid(f"spec.{key}", shown, "field is immutable")]


def _status_text(job: Object, status: Object) -> str:
    for kind, text in _CONDITIONS:
        if kind:
            if condition_true(status, kind):
                return text
        elif job["metadata"].get("deletionTimestamp"):
            return text
    return "Running"


def _duration(status: Object, now: float) -> str:
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    return age((parse_time(end) if end else now) - parse_time(start))


_COLUMNS = (
    NAME,
    Column("Status", "string", "", "Status of the job."),
    Column("Completions", "string", "", "Pods that succeeded, of all wanted."),
    Column("Duration", "string", "", "Time required to complete the job."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
