"""What the metrics APIs say, as samples: resource, custom and external metrics.

Owns the requests to metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io, and the
texts of their failures, which are the autoscaler's events. It draws no conclusions.
"""

from __future__ import annotations

from actors.client import Client
from actors.controllers._hpamath import MetricError, Sample
from actors.controllers._pods import epoch
from protocol.api import Resource, StatusError
from protocol.objects import Object, condition_status, name, spec
from protocol.quantity import milli_value

__all__ = ["Metrics"]

POD_METRICS = Resource("metrics.k8s.io", "v1beta1", "pods")
CUSTOM = "custom.metrics.k8s.io"
CUSTOM_VERSIONS = ("v1beta2", "v1beta1")
"""The versions that are understood, the preferred one first."""
ASK_AGAIN_S = 600.0
GENERIC = ("the server could not find the requested resource", "404 page not found")
EXTERNAL = ("external.metrics.k8s.io", "v1beta1")
CUSTOM_WINDOW_S = 60.0


class Metrics:
    """Asks the metrics APIs through a client. All methods raise `MetricError`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._version = ""
        self._version_at = 0.0

    async def pods(
        self, resource: str, namespace: str, selector: str, container: str = ""
    ) -> dict[str, Sample]:
        """Usage by pod, of one container or of all, in thousandths."""
        try:
            answer = await self.client.list(POD_METRICS, namespace, label_selector=selector)
        except StatusError as error:
            raise MetricError(
                "unable to fetch metrics from resource metrics API:"
                f" {_text(error, 'pods.metrics.k8s.io')}"
            ) from None
        items = answer.get("items") or []
        if not items:
            raise MetricError("no metrics returned from resource metrics API")
        found: dict[str, Sample] = {}
        for item in items:
            usages: list[str] = [
                (c.get("usage") or {}).get(resource, "")
                for c in item.get("containers") or ()
                if not container or c.get("name") == container
            ]
            if not usages or "" in usages:
                continue
            total = sum(map(milli_value, usages))
            at = epoch(item["timestamp"]) if item.get("timestamp") else 0.0
            found[name(item)] = Sample(total, at, _window_s(item))
        return found

    async def custom_pods(
        self, metric: str, namespace: str, selector: str, metric_selector: str
    ) -> dict[str, Sample]:
        """A custom metric by pod."""
        answer = await self._custom("pods", "*", metric, namespace, selector, metric_selector)
        items = answer.get("items") or []
        if not items:
            raise MetricError("no metrics returned from custom metrics API")
        return {
            (item.get("describedObject") or {}).get("name", ""): Sample(
                milli_value(item.get("value", "0")),
                epoch(item["timestamp"]) if item.get("timestamp") else 0.0,
                float(item.get("windowSeconds") or CUSTOM_WINDOW_S),
            )
            for item in items
        }

    async def custom_object(
        self, resource: str, object_name: str, metric: str, namespace: str, metric_selector: str
    ) -> int:
        """A custom metric of one object, in thousandths."""
        answer = await self._custom(resource, object_name, metric, namespace, "", metric_selector)
        items = answer.get("items") or [answer]
        return milli_value(items[0].get("value", "0"))

    async def _custom(
        self,
        resource: str,
        object_name: str,
        metric: str,
        namespace: str,
        selector: str,
        metric_selector: str,
    ) -> Object:
        options = {"labelSelector": selector, "metricLabelSelector": metric_selector}
        given = {k: v for k, v in options.items() if v}
        try:
            version = await self._custom_version()
            if not version:
                raise MetricError(f"no custom metrics API ({CUSTOM}) registered")
            if resource == "namespaces":  # a metric of a namespace is one of the resource `metrics` in it
                what = Resource(CUSTOM, version, "metrics")
                return await self.client.get(what, metric, object_name, **given)
            what = Resource(CUSTOM, version, resource)
            answer: Object = await self.client.get_subresource(what, object_name, namespace, metric, **given)
        except (StatusError, MetricError) as error:
            self._version = ""
            text = _text(error, f"{resource}.{CUSTOM}") if isinstance(error, StatusError) else str(error)
            raise MetricError(f"unable to fetch metrics from custom metrics API: {text}") from None
        return answer

    async def _custom_version(self) -> str:
        """The version in which custom metrics are served, as the APIServices say; empty: none."""
        now = self.client.actor.clock.monotonic()
        if not self._version or now - self._version_at > ASK_AGAIN_S:
            listed = await self.client.list("apiservices")
            served = {
                spec(item).get("version")
                for item in listed.get("items") or ()
                if spec(item).get("group") == CUSTOM and condition_status(item, "Available") == "True"
            }
            self._version = next((v for v in CUSTOM_VERSIONS if v in served), "")
            self._version_at = now
        return self._version

    async def external(self, metric: str, namespace: str, selector: str) -> list[int]:
        """The values of an external metric, in thousandths."""
        what = Resource(*EXTERNAL, metric)
        try:
            answer = await self.client.list(what, namespace, label_selector=selector)
        except StatusError as error:
            where = f"{metric}.external.metrics.k8s.io"
            raise MetricError(
                f"unable to fetch metrics from external metrics API: {_text(error, where)}"
            ) from None
        items = answer.get("items") or []
        if not items:
            raise MetricError("no metrics returned from external metrics API")
        return [milli_value(item.get("value", "0")) for item in items]


def _text(error: StatusError, where: str) -> str:
    """The message as clients put it: where the API is not there, what was asked is added."""
    if error.code == 404 and error.message in GENERIC:
        return f"{GENERIC[0]} (get {where})"
    if error.code == 503:
        return f"the server is currently unable to handle the request (get {where})"
    return error.message


def _window_s(item: Object) -> float:
    text = str(item.get("window") or "")
    total, number = 0.0, ""
    for char in text:
        if char.isdigit() or char == ".":
            number += char
        elif number:
            total += float(number) * {"h": 3600.0, "m": 60.0, "s": 1.0}.get(char, 0.0)
            number = ""
    return total

