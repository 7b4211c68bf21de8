"""CronJob.

Owns schedules, time zones, the job template and columns.
"""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

from actors.apiserver.strategies._base import AGE, NAME, Column, Context, Object, Strategy
from actors.apiserver.strategies._cron import CronError, check_schedule
from actors.apiserver.strategies._errors import (
    FieldError,
    invalid,
    not_supported,
    required,
)
from actors.apiserver.strategies._meta import nonnegative
from actors.apiserver.strategies._selectors import format_selector, selector_form
from actors.apiserver.strategies._tables import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    container_cells,
    truth,
)
from actors.apiserver.strategies._time import since
from actors.apiserver.strategies._workloads import name_warning
from actors.apiserver.strategies.job_spec import job_warnings, validate_job_spec
from actors.apiserver.strategies.pod_defaults import default_template, prepare_pod_spec
from protocol.names import max_length

__all__ = ["CronJobStrategy"]

_CONCURRENCY = ("Allow", "Forbid", "Replace")
_is_zone_part = re.compile(r"[A-Za-z._0-9+-]{1,14}\Z").match


def _check_schedule(spec: Object, old: Object | None) -> list[FieldError]:
    text = spec.get("schedule", "")
    at = "spec.schedule"
    if not text:
        return [required(at)]
    errors: list[FieldError] = []
    try:
        check_schedule(text)
    except CronError as error:
        errors.append(invalid(at, text, str(error)))
    if "TZ" not in text:
        return errors
    if old is None or "TZ" not in old.get("schedule", ""):
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        errors.append(invalid(at, text, detail))
    elif spec.get("timeZone") is not None:
        detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        errors.append(invalid(at, text, detail))
    return errors


def _check_zone(zone: str | None) -> list[FieldError]:
    at = "spec.timeZone"
    if zone is None:
        return []
    if not zone:
        return [invalid(at, zone, "timeZone must be nil or non-empty string")]
    unknown = invalid(at, zone, f"unknown time zone {zone}")
    for part in zone.split("/"):
        if part in (".", "..") or part.startswith("-") or not _is_zone_part(part):
            return [unknown]
    errors: list[FieldError] = []
    if zone.lower() == "local":
        detail = (
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        )
        errors.append(invalid(at, zone, detail))
    if zone == "Local":
        return errors
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        errors.append(unknown)
    return errors


class CronJobStrategy(Strategy):
    """CronJob."""

    has_status = True
    has_generation = True

    def default(self, obj: Object) -> None:
        spec = obj.setdefault("spec", {})
        if not spec.get("concurrencyPolicy"):
            spec["concurrencyPolicy"] = "Allow"
        spec.setdefault("suspend", False)
        spec.setdefault("successfulJobsHistoryLimit", 3)
        spec.setdefault("failedJobsHistoryLimit", 1)
        template = spec.setdefault("jobTemplate", {"metadata": {}, "spec": {}})
        job = template.setdefault("spec", {})
        default_template(job.setdefault("template", {"metadata": {}, "spec": {}}))

    def prepare_spec(self, new: Object, old: Object | None, ctx: Context) -> None:
        prepare_pod_spec(new["spec"]["jobTemplate"]["spec"]["template"]["spec"], old and old["spec"]["jobTemplate"]["spec"]["template"]["spec"], ctx.minor)

    def check(self, obj: Object) -> list[FieldError]:
        errors = self.check_meta(obj) + self._check_spec(obj["spec"], None)
        name = obj["metadata"].get("name", "")
        if len(name) > 52:
            errors.append(invalid("metadata.name", name, max_length(52)))
        return errors

    def _check_spec(self, spec: Object, old: Object | None) -> list[FieldError]:
        errors = _check_schedule(spec, old)
        errors += nonnegative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
        if old is None or old.get("timeZone") != spec.get("timeZone"):
            errors += _check_zone(spec.get("timeZone"))
        policy = spec.get("concurrencyPolicy", "")
        if policy not in _CONCURRENCY:
            at = "spec.concurrencyPolicy"
            errors.append(not_supported(at, policy, _CONCURRENCY) if policy else required(at))
        job = spec["jobTemplate"]["spec"]
        errors += validate_job_spec(job, "spec.jobTemplate.spec")
        if job.get("selector") is not None:
            shown = selector_form(job["selector"])
            detail = "`selector` will be auto-generated"
            errors.append(invalid("spec.jobTemplate.spec.selector", shown, detail))
        if job.get("manualSelector"):
            at = "spec.jobTemplate.spec.manualSelector"
            errors.append(not_supported(at, True, ("nil", "false")))
        for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            errors += nonnegative(spec.get(name), f"spec.{name}")
        return errors

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self._check_spec(new["spec"], old["spec"])

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        out: list[str] = []
        if old is None:
            out += name_warning(new["metadata"])
        elif new["metadata"].get("generation") == old["metadata"].get("generation"):
            return out
        return out + job_warnings(new["spec"]["jobTemplate"]["spec"], "spec.jobTemplate.spec")

    def columns(self) -> tuple[Column, ...]:
        return _COLUMNS

    def row(self, obj: Object, now: float) -> list[Any]:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        last = status.get("lastScheduleTime")
        return [
            obj["metadata"].get("name", ""),
            spec.get("schedule", ""),
            spec.get("timeZone") if spec.get("timeZone") is not None else "<none>",
            truth(spec.get("suspend")),
            len(status.get("active") or ()),
            since(last, now) if last else "<none>",
            self.age(obj, now),
            *container_cells((job.get("template") or {}).get("spec")),
            format_selector(job.get("selector")),
        ]


_COLUMNS = (
    NAME,
    Column("Schedule", "string", "", "When jobs are started."),
    Column("Timezone", "string", "", "Time zone of the schedule."),
    Column("Suspend", "boolean", "", "Whether no jobs are started."),
    Column("Active", "integer", "", "Jobs that run now."),
    Column("Last Schedule", "string", "", "When a job was started last."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
)
