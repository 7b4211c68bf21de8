"""How both EndpointSlice controllers find and write the slices of a Service."""

from __future__ import annotations

from collections.abc import Callable

from actors.client import Client, StatusError
from actors.controllers._servicepods import SERVICE_NAME_LABEL
from actors.controllers._slicepacking import MANAGED_BY_LABEL, Plan
from actors.controllers._slicetracker import SliceTracker
from protocol.objects import Object, labels, metadata, split_key

__all__ = ["service_of", "write_plan"]


def service_of(managed_by: str) -> Callable[[Object], tuple[str, ...]]:
    """An index function: the key of the Service that a slice managed by `managed_by` stands for."""

    def keys(obj: Object) -> tuple[str, ...]:
        if labels(obj).get(MANAGED_BY_LABEL) != managed_by:
            return ("",)
        return (f"{metadata(obj).get('namespace', '')}/{labels(obj).get(SERVICE_NAME_LABEL, '')}",)

    return keys


async def write_plan(client: Client, tracker: SliceTracker, key: str, plan: Plan) -> None:
    """Create, update and delete what a plan says. Raises: StatusError; what was written until then
    is tracked."""
    namespace, _ = split_key(key)
    for wanted in plan.create:
        tracker.wrote(key, await client.create("endpointslices", wanted, namespace))
    for wanted in plan.update:
        tracker.wrote(key, await client.update("endpointslices", wanted))
    for old in plan.delete:
        try:
            await client.delete("endpointslices", metadata(old)["name"], namespace)
        except StatusError as error:
            if error.code != 404:
                raise
        tracker.deleted(key, old)
