"""DynamicResources: devices that a pod's ResourceClaims ask for."""

from __future__ import annotations

from actors.scheduler._framework import ColumnPlugin, Cycle, Diagnosis, PostFilterResult
from actors.scheduler._status import SKIP, Code, Status

__all__ = ["DynamicResources"]


class DynamicResources(ColumnPlugin):
    name = "DynamicResources"

    def pre_filter(self, cycle: Cycle) -> Status:
        cycle.data[self.name] = None
        return SKIP

    def post_filter(self, cycle: Cycle, diagnosis: Diagnosis) -> PostFilterResult:
        if self.name not in cycle.data:
            return PostFilterResult(Status(Code.ERROR, ("not found",), self.name))
        return PostFilterResult(Status(Code.UNSCHEDULABLE, ("no new claims to deallocate",), self.name))
