"""The endpoints controller: a Service with a selector has an Endpoints object of its name.

Owns Endpoints that stand for Services with a selector; those that people write for Services
without one it never touches. Facts: kubernetes pkg/controller/endpoint/endpoints_controller.go.
"""

from __future__ import annotations

from typing import ClassVar

from actors.controllers._reconcile import Context, Controller
from actors.controllers._serviceindex import Pace, ServiceSelectors
from actors.controllers._servicepods import HEADLESS_LABEL, LAST_CHANGE, is_headless, trigger_time
from actors.controllers._subsets import subsets_of, truncated
from protocol.api import StatusError
from protocol.objects import Object, key, labels, metadata, resource_version, spec, split_key
from protocol.objects import annotations as annotations_of

__all__ = ["EndpointsController"]

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
CONTROLLER_NAME = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
LEADER = "control-plane.alpha.kubernetes.io/leader"


class EndpointsController(Controller):
    """Keeps Endpoints equal to the ready and unready pods of their Services."""

    component: ClassVar[str] = "endpoint-controller"
    resources: ClassVar[tuple[str, ...]] = ("services", "pods", "endpoints")

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.selectors = ServiceSelectors()
        self.pace = Pace()
        self._moments: dict[str, dict[str, str]] = {}
        self._fresh: dict[str, str] = {}
        self.on_change("services", self._service_changed)
        self.on_change("pods", self._pod_changed)
        self.on_change("endpoints", self._endpoints_changed)

    def _service_changed(self, old: Object | None, new: Object | None) -> None:
        self.selectors.service_changed(old, new)
        self.queue.add(key(new or old or {}))

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        now = self.clock.monotonic()
        for service_key in self.selectors.concerned(old, new):
            self.queue.add_after(service_key, self.pace.rest_s(service_key, now))

    def _endpoints_changed(self, old: Object | None, new: Object | None) -> None:
        """Somebody deleted what is ours."""
        if new is None and old is not None and self.selectors.of(key(old)) is not None:
            self.queue.add(key(old))

    def synced(self) -> None:
        """Services may have gone while nobody looked: what they left behind goes too. Endpoints that
        come later without a Service are somebody's own and stay."""
        for endpoints in self.store("endpoints"):
            if LEADER not in annotations_of(endpoints) and key(endpoints) not in self.store("services"):
                self.queue.add(key(endpoints))

    async def reconcile(self, key: str) -> None:
        namespace, name = split_key(key)
        service = self.store("services").get(key)
        if service is None:
            self._moments.pop(key, None)
            self._fresh.pop(key, None)
            self.pace.forget(key)
            await self._delete_leftover(key)
            return
        if not spec(service).get("selector") or spec(service).get("type") == "ExternalName":
            return
        pods = self.selectors.pods(key, self.store("pods"))
        self.pace.looked(key, len(pods), self.clock.monotonic())
        moment = trigger_time(service, pods, self._moments.setdefault(key, {}))
        if moment:  # kept until a write has carried it
            self._fresh[key] = min(moment, self._fresh.get(key, moment))
        subsets, cut = truncated(subsets_of(service, pods))
        current = self.store("endpoints").get(key)
        wanted = _wanted(service, current, subsets, cut, self._fresh.get(key, ""))
        if current is not None and not _differs(current, wanted):
            return
        try:
            if current is None or not resource_version(current):
                await self.client.create("endpoints", wanted, namespace)
            else:
                await self.client.update("endpoints", wanted)
            self._fresh.pop(key, None)
        except StatusError as error:
            self._report(service, name, current, error)
            raise

    def _report(self, service: Object, name: str, current: Object | None, error: StatusError) -> None:
        if error.code in (409, 503, 504) or "is being terminated" in error.message:
            return
        verb, what = ("create", "FailedToCreateEndpoint") if current is None else ("update", "FailedToUpdateEndpoint")
        namespace = metadata(service).get("namespace", "")
        text = f"Failed to {verb} endpoint for service {namespace}/{name}: {error.message}"
        self.recorder.event(service, "Warning", what, text)

    async def _delete_leftover(self, key: str) -> None:
        current = self.store("endpoints").get(key)
        if current is None:
            return
        namespace, name = split_key(key)
        try:
            await self.client.delete("endpoints", name, namespace, uid=metadata(current).get("uid", ""))
        except StatusError as error:
            if error.code != 404:
                raise


def _wanted(service: Object, current: Object | None, subsets: list[Object], cut: bool, moment: str) -> Object:
    """The Endpoints object as it should be."""
    meta = dict(metadata(current)) if current else {}
    meta.update(name=metadata(service)["name"], namespace=metadata(service)["namespace"])
    meta["labels"] = {**labels(service), MANAGED_BY: CONTROLLER_NAME}
    meta["labels"].pop(HEADLESS_LABEL, None)
    if is_headless(service):
        meta["labels"][HEADLESS_LABEL] = ""
    notes = {
        k: v for k, v in (annotations_of(current) if current else {}).items() if k not in (LAST_CHANGE, OVER_CAPACITY)
    }
    if moment:
        notes[LAST_CHANGE] = moment
    elif current and LAST_CHANGE in annotations_of(current):
        notes[LAST_CHANGE] = annotations_of(current)[LAST_CHANGE]
    if cut:
        notes[OVER_CAPACITY] = "truncated"
    meta["annotations"] = notes
    found: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta}
    if subsets:
        found["subsets"] = subsets
    return found


def _differs(current: Object, wanted: Object) -> bool:
    """Whether a write is due; a new trigger time alone is none."""
    return (
        (current.get("subsets") or []) != (wanted.get("subsets") or [])
        or labels(current) != labels(wanted)
        or annotations_of(current).get(OVER_CAPACITY) != annotations_of(wanted).get(OVER_CAPACITY)
    )
