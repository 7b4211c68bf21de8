"""metrics.k8s.io: what nodes and pods use, for `kubectl top` and the HorizontalPodAutoscaler.

Owns what the metrics server owns in other clusters: it asks kubelets for their stats summary, by way of
the API server, and answers for the group as an extension API server. It asks only when it is asked,
and remembers each node's answer for a moment, so that thousands of idle nodes cost nothing.

https://kubernetes.io/docs/reference/external-api/metrics.v1beta1/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actors.client import Client, ClientActor
from actors.kernel import ActorDead, Ref, handles
from actors.kubelet._status import rfc3339
from protocol import status
from protocol.api import ApiRequest, Hold, ServeGroup, StatusError

__all__ = ["GROUP", "RESOURCES", "MetricsServer", "table"]

Object = dict[str, Any]
GROUP, VERSION = "metrics.k8s.io", "v1beta1"
API_VERSION = f"{GROUP}/{VERSION}"
NAMESPACE, NAME = "kube-system", "metrics-server"
WINDOW = "15s"
REMEMBERED_S = 2.0
AT_ONCE = 200
"""How many nodes are asked at the same time."""
RESOURCES: tuple[Object, ...] = (
    {"name": "nodes", "singularName": "", "namespaced": False, "kind": "NodeMetrics", "verbs": ["get", "list"]},
    {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]},
)
READERS = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {
        "name": "system:aggregated-metrics-reader",
        "labels": {
            "k8s-app": NAME,
            **{f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("admin", "edit", "view")},
        },
    },
    "rules": [{"apiGroups": [GROUP], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}],
}
SERVICE = {
    "apiVersion": "apiregistration.k8s.io/v1",
    "kind": "APIService",
    "metadata": {"name": f"{VERSION}.{GROUP}", "labels": {"k8s-app": NAME}},
    "spec": {
        "group": GROUP,
        "groupPriorityMinimum": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": NAME, "namespace": NAMESPACE, "port": 443},
        "version": VERSION,
        "versionPriority": 100,
    },
}


class MetricsServer(ClientActor):
    """Answers for metrics.k8s.io while an APIService names kube-system/metrics-server for it; with
    `register` it makes that APIService itself."""

    def __init__(self, apiserver: Ref, register: bool = True) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent=NAME)
        self.register = register
        self.summaries: dict[str, tuple[float, Object]] = {}

    def on_start(self) -> None:
        if self.register:
            self.background(self._register())
        self.background(self._announce())

    async def _announce(self) -> None:
        """Tell the API server who answers, and the one that follows it after a crash."""
        while True:
            self.client.apiserver.tell(ServeGroup(GROUP, VERSION, RESOURCES, self.ref, (NAMESPACE, NAME)))
            try:
                await self.ask(self.client.apiserver, Hold(), timeout=None)
            except ActorDead:
                await self.sleep(0.1)

    async def _register(self) -> None:
        for what, obj in (("clusterroles", READERS), ("apiservices", SERVICE)):
            delay_s = 0.1
            while True:
                try:
                    await self.client.create(what, obj)
                    break
                except StatusError as error:
                    if error.code == 409:
                        break
                    self.log.info("metrics_not_registered", error=error.message)
                await self.sleep(delay_s)
                delay_s = min(2 * delay_s, 5.0)
        self.client.apiserver.tell(ServeGroup(GROUP, VERSION, RESOURCES, self.ref, (NAMESPACE, NAME)))

    @handles(ApiRequest)
    async def request(self, message: ApiRequest) -> Object:
        """One get or list. Raises `StatusError`."""
        what = message.resource.resource
        if what not in ("nodes", "pods"):
            raise status.page_not_found()
        if message.verb not in ("get", "list"):
            raise status.method_not_allowed()
        find = self._nodes if what == "nodes" else self._pods
        found = await find(message)
        kind = "NodeMetrics" if what == "nodes" else "PodMetrics"
        if message.verb == "get":
            if not found:
                raise status.not_found(GROUP, what, _full(message.namespace, message.name))
            answer = {"kind": kind, "apiVersion": API_VERSION, **found[0]}
        else:
            items = [{"metadata": o["metadata"], **{k: v for k, v in o.items() if k != "metadata"}} for o in found]
            answer = {"kind": f"{kind}List", "apiVersion": API_VERSION, "metadata": {}, "items": items}
        return table(found) if message.options.get("as") == "Table" else answer

    async def _selected(self, message: ApiRequest, what: str) -> list[Object]:
        if message.verb == "get":
            try:
                return [await self.client.get(what, message.name, message.namespace)]
            except StatusError as error:
                if error.code == 404:
                    return []
                raise
        passed = {k: v for k, v in message.options.items() if k in ("labelSelector", "fieldSelector")}
        listed = await self.client.list(what, message.namespace, **passed)
        return list(listed.get("items") or ())

    async def _nodes(self, message: ApiRequest) -> list[Object]:
        nodes = await self._selected(message, "nodes")
        summaries = await self._ask_nodes(n["metadata"]["name"] for n in nodes)
        found = []
        for node in nodes:
            told = (summaries.get(node["metadata"]["name"]) or {}).get("node")
            if told is not None:
                found.append({**self._head(node, told), "usage": _usage(told)})
        return found

    async def _pods(self, message: ApiRequest) -> list[Object]:
        pods = [p for p in await self._selected(message, "pods") if (p["spec"].get("nodeName"))]
        summaries = await self._ask_nodes(p["spec"]["nodeName"] for p in pods)
        by_uid = {p["podRef"]["uid"]: p for s in summaries.values() for p in s.get("pods") or ()}
        found = []
        for pod in pods:
            told = by_uid.get(pod["metadata"]["uid"])
            if told is None or (pod.get("status") or {}).get("phase") != "Running" or not told.get("containers"):
                continue
            containers = [{"name": c["name"], "usage": _usage(c)} for c in told["containers"]]
            found.append({**self._head(pod, told), "containers": sorted(containers, key=lambda c: str(c["name"]))})
        return found

    def _head(self, obj: Object, told: Object) -> Object:
        old = obj["metadata"]
        meta: Object = {"name": old["name"]}
        if old.get("namespace"):
            meta["namespace"] = old["namespace"]
        now = rfc3339(self.clock.now())
        meta["creationTimestamp"] = now
        if old.get("labels"):
            meta["labels"] = old["labels"]
        return {"metadata": meta, "timestamp": told["cpu"].get("time", now), "window": WINDOW}

    async def _ask_nodes(self, names: Iterable[str]) -> dict[str, Object]:
        """The stats summaries of nodes by name; without those that do not answer."""
        wanted = list(dict.fromkeys(names))
        found: dict[str, Object] = {}
        for at in range(0, len(wanted), AT_ONCE):
            chunk = wanted[at : at + AT_ONCE]
            answers = await self.gather(*[self._summary(n) for n in chunk])
            found.update({n: told for n, told in zip(chunk, answers, strict=True) if told is not None})
        return found

    async def _summary(self, node: str) -> Object | None:
        now = self.clock.monotonic()
        known = self.summaries.get(node)
        if known is not None and now - known[0] < REMEMBERED_S:
            return known[1]
        try:
            found: Object = await self.client.get_subresource("nodes", node, "", "proxy/stats/summary")
        except StatusError as error:
            self.log.info("node_stats_missing", node=node, error=error.message)
            self.summaries.pop(node, None)
            return None
        self.summaries[node] = (now, found)
        return found


def _full(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def _usage(told: Mapping[str, Any]) -> Object:
    """In the units in which the metrics server writes them."""
    cpu = int((told.get("cpu") or {}).get("usageNanoCores") or 0)
    memory = int((told.get("memory") or {}).get("workingSetBytes") or 0)
    return {"cpu": f"{cpu}n" if cpu else "0", "memory": f"{memory // 1024}Ki"}


def table(found: list[Object]) -> Object:
    """What `kubectl get pods.metrics.k8s.io` shows."""
    names = (("Name", "string", "name"), ("cpu", "string", ""), ("memory", "string", ""), ("Window", "string", ""))
    columns = [{"name": n, "type": t, "format": f, "description": "", "priority": 0} for n, t, f in names]
    rows = []
    for obj in found:
        parts = [c["usage"] for c in obj["containers"]] if "containers" in obj else [obj["usage"]]
        cpu = sum(int(u["cpu"].rstrip("n")) for u in parts)
        memory = sum(int(u["memory"].removesuffix("Ki")) for u in parts)
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
        rows.append({"cells": [obj["metadata"]["name"], f"{cpu}n", f"{memory}Ki", obj["window"]], "object": partial})
    head = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}}
    return {**head, "columnDefinitions": columns, "rows": rows}
