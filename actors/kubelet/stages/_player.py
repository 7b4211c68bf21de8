"""The actor that plays stages: it finds the stage of each object, waits, and does what comes next.

Owns objects of the kinds that its stages are for: pods on the nodes that it plays, those nodes themselves, and
all objects of other kinds. It keeps the Leases of Nodes that carry KWOK's annotation, which have no kubelet.
It must never touch a pod of a node that is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from actors.client import Client, EventRecorder, Informer
from actors.kernel import Ref, handles
from actors.kubelet._config import KubeletConfig
from actors.kubelet._node_status import lease_object
from actors.kubelet._status import rfc3339
from actors.kubelet.stages._functions import NAMES, Addresses, functions
from actors.kubelet.stages._gotemplate import TemplateError
from actors.kubelet.stages._pretence import Pretence, Scripts
from actors.kubelet.stages._stage import Stage, choose, load
from protocol import kinds
from protocol.api import Resource, StatusError, UserInfo
from protocol.message import Message
from protocol.node import NodeConnected, NodeDisconnected

__all__ = ["StagePlayer", "load_stages"]

Object = dict[str, Any]
Key = tuple[str, str]
KWOK_NODE = ("kwok.x-k8s.io/node", "fake")
LEASE_PERIOD_S = 10.0
_PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}


def _unset(*_: Any) -> Any:
    raise TemplateError("called outside of a rendering")


def load_stages(objects: Iterable[Object]) -> list[Stage]:
    """The stages among objects. Raises `StageError` for one that is not supported, by name."""
    return load(objects, dict.fromkeys(NAMES, _unset))


class Play(Message, frozen=True):
    """An object's stage is over, unless the token is outdated."""

    kind: str
    key: Key
    token: int


class RenewLeases(Message, frozen=True):
    """Time for heartbeats."""


class StagePlayer(Pretence):
    """See the module. `nodes`: nodes of this process whose pods are played; others are played when they
    have one of the annotations in `selectors`."""

    def __init__(
        self,
        apiserver: Ref,
        stages: Iterable[Stage],
        nodes: Iterable[str] = (),
        selectors: Iterable[tuple[str, str]] = (),
        scripts: Scripts | None = None,
    ) -> None:
        super().__init__()
        self.client = Client(self, apiserver, user_agent="kwok")
        self.recorder = EventRecorder(self.client, "kwok_controller")
        self.own_nodes = frozenset(nodes)
        self.scripts = scripts or Scripts()
        self.others: dict[str, Client] = {}
        self.selectors = (KWOK_NODE, *selectors)
        self.by_kind: dict[str, list[Stage]] = {}
        for stage in stages:
            self.by_kind.setdefault(stage.kind, []).append(stage)
        self.resources: dict[str, tuple[Resource, bool]] = {}
        self.nodes: dict[str, Object] = {}
        self.leases: dict[str, Object] = {}
        self.addresses = Addresses()
        self.informers: dict[str, Informer] = {}
        self.pending: dict[tuple[str, Key], tuple[int, str, Any, str]] = {}
        """By object: token, the stage's name, its timer, the object's uid."""
        self.tokens = 0

    def on_start(self) -> None:
        for kind in dict.fromkeys(["Node", *self.by_kind]):
            self._watch(kind)
        self.every(LEASE_PERIOD_S, RenewLeases())

    def _watch(self, kind: str) -> None:
        stages = self.by_kind.get(kind) or []
        group, _, version = (stages[0].api_version if stages else "v1").rpartition("/")
        known = kinds.by_kind(group, version, kind)
        if known is None:
            self.log.warning("stage_of_unknown_kind", kind=kind)
            return
        self.resources[kind] = (Resource(group, version, known.resource), known.namespaced)
        informer = self.informers[kind] = Informer(
            self.client,
            self.resources[kind][0],
            on_add=lambda obj: self._seen(kind, obj),
            on_update=lambda _, obj: self._seen(kind, obj),
            on_delete=lambda obj: self._gone(kind, obj),
        )
        informer.start()

    # -- what is played

    def plays_node(self, node: Object) -> bool:
        """Whether a node is one of this player's."""
        annotations = node["metadata"].get("annotations") or {}
        return node["metadata"]["name"] in self.own_nodes or any(annotations.get(k) == v for k, v in self.selectors)

    def played(self) -> Iterable[Object]:
        """The pods that are played."""
        return [p for p in self.informers["Pod"].store if self._mine("Pod", p)] if "Pod" in self.informers else ()

    def _as(self, who: Object | None) -> Client:
        """The client of the user that a step is done as."""
        name = (who or {}).get("username")
        if not name:
            return self.client
        if name not in self.others:
            user = UserInfo(name, _groups(name))
            self.others[name] = Client(self, self.client.apiserver, user=user, user_agent="kwok")
        return self.others[name]

    def _mine(self, kind: str, obj: Object) -> bool:
        if kind == "Node":
            return self.plays_node(obj)
        if kind == "Pod":
            name = obj["spec"].get("nodeName")
            return bool(name) and (name in self.own_nodes or (name in self.nodes and self.plays_node(self.nodes[name])))
        return True

    def _seen(self, kind: str, obj: Object) -> None:
        if kind == "Node":
            name = obj["metadata"]["name"]
            fresh = name not in self.nodes and self.plays_node(obj)
            self.nodes[name] = obj
            if fresh and "Pod" in self.by_kind:
                self.client.apiserver.tell(NodeConnected(name, self.ref))
            if fresh and "Pod" in self.informers:
                for pod in self.informers["Pod"].store:
                    if pod["spec"].get("nodeName") == name:
                        self._consider("Pod", pod)
            if fresh and self._keeps_lease(obj):
                self.background(self._renew(obj))
        self._consider(kind, obj)

    def _gone(self, kind: str, obj: Object) -> None:
        self._forget(kind, _key(obj))
        if kind == "Node":
            if self.nodes.pop(obj["metadata"]["name"], None) is not None and self.plays_node(obj):
                self.client.apiserver.tell(NodeDisconnected(obj["metadata"]["name"], self.ref))
            self.leases.pop(obj["metadata"]["name"], None)
        elif kind == "Pod":
            self.addresses.release(obj["metadata"]["uid"])

    def _forget(self, kind: str, key: Key) -> None:
        known = self.pending.pop((kind, key), None)
        if known is not None:
            known[2].cancel()

    def _consider(self, kind: str, obj: Object) -> None:
        """Find the object's stage; one that it is in already goes on."""
        stages = self.by_kind.get(kind)
        if not stages or not self._mine(kind, obj):
            return
        key, uid = _key(obj), obj["metadata"].get("uid", "")
        known = self.pending.get((kind, key))
        if known is not None and known[3] == uid:
            current = next((s for s in stages if s.name == known[1]), None)
            if current is not None and current.matches(obj):
                return
        self._forget(kind, key)
        stage = choose(stages, obj, self.random)
        if stage is None:
            return
        self.tokens += 1
        timer = self.after(stage.delay_s(obj, self.clock.now(), self.random), Play(kind, key, self.tokens))
        self.pending[kind, key] = (self.tokens, stage.name, timer, uid)

    # -- what comes next

    @handles(Play, serial=lambda m: (m.kind, m.key))
    async def play(self, message: Play) -> None:
        known = self.pending.get((message.kind, message.key))
        if known is None or known[0] != message.token:
            return
        del self.pending[message.kind, message.key]
        obj = self.informers[message.kind].store.get("/".join(filter(None, message.key)))
        if obj is None or obj["metadata"].get("uid", "") != known[3]:
            return
        stage = next(s for s in self.by_kind[message.kind] if s.name == known[1])
        if not stage.matches(obj):
            self._consider(message.kind, obj)
            return
        try:
            for kind, what in stage.steps:
                if await self._step(message.kind, obj, kind, what):
                    return
        except StatusError as error:
            if error.code not in (404, 409):
                self.log.warning("stage_failed", stage=stage.name, object=_name(obj), error=error.message)
        except (TemplateError, yaml.YAMLError, ValueError) as error:
            self.log.warning("stage_template_failed", stage=stage.name, object=_name(obj), error=str(error))
        latest = self.informers[message.kind].store.get("/".join(filter(None, message.key)))
        if latest is not None and latest is not obj:
            self._consider(message.kind, latest)

    async def _step(self, kind: str, obj: Object, step: str, what: Any) -> bool:
        """Do one thing; true if the object is gone then."""
        resource, _ = self.resources[kind]
        meta = obj["metadata"]
        name, namespace = meta["name"], meta.get("namespace", "")
        if step == "event":
            about = obj if "kind" in obj else {"apiVersion": resource.api_version, "kind": kind, **obj}
            self.recorder.event(about, what.get("type") or "Normal", what.get("reason", ""), what.get("message", ""))
        elif step == "finalizers":
            body = {"metadata": {"finalizers": _finalizers(meta.get("finalizers") or [], what)}}
            await self.client.patch(resource, name, namespace, body)
        elif step == "delete":
            if meta.get("finalizers"):
                await self.client.patch(resource, name, namespace, {"metadata": {"finalizers": None}})
            await self.client.delete(resource, name, namespace, uid=meta.get("uid", ""), grace_period_s=0)
            return True
        elif step == "apply":
            await self._apply(self._render(kind, obj, what), what.get("impersonation"))
        else:
            await self._patch(kind, obj, what)
        return False

    def _render(self, kind: str, obj: Object, what: Mapping[str, Any]) -> Any:
        resource, _ = self.resources[kind]
        data = {"apiVersion": resource.api_version, "kind": kind, **obj}
        calls = functions(data, rfc3339(self.clock.now()), self.nodes, self.addresses)
        return yaml.safe_load(what["template"].render(data, calls))

    async def _patch(self, kind: str, obj: Object, what: Mapping[str, Any]) -> None:
        resource, _ = self.resources[kind]
        body = self._render(kind, obj, what)
        if body is None:
            return
        if what.get("root"):
            body = {what["root"]: body}
        patch = _PATCHES.get(what.get("type") or "strategic")
        if patch is None:
            raise ValueError(f"a patch of type {what.get('type')!r} is not supported")
        meta = obj["metadata"]
        await self._as(what.get("impersonation")).patch(
            resource,
            meta["name"],
            meta.get("namespace", ""),
            body,
            patch_type=patch,
            subresource=what.get("subresource") or "",
        )

    async def _apply(self, obj: Any, who: Object | None = None) -> None:
        group, _, version = str(obj["apiVersion"]).rpartition("/")
        known = kinds.by_kind(group, version, obj["kind"])
        if known is None:
            raise ValueError(f"no such kind: {obj['kind']}")
        await self._as(who).apply(Resource(group, version, known.resource), obj, field_manager="kwok", force=True)

    # -- heartbeats of nodes that have no kubelet

    def _keeps_lease(self, node: Object) -> bool:
        key, value = KWOK_NODE
        return (node["metadata"].get("annotations") or {}).get(key) == value

    @handles(RenewLeases)
    async def renew_leases(self, message: RenewLeases) -> None:
        if "Pod" in self.by_kind:  # the API server may have been started anew
            for name in [n for n, node in self.nodes.items() if self.plays_node(node)]:
                self.client.apiserver.tell(NodeConnected(name, self.ref))
        await self.gather(*[self._renew(n) for n in list(self.nodes.values()) if self._keeps_lease(n)])

    async def _renew(self, node: Object) -> None:
        name, stamp = node["metadata"]["name"], self.clock.rfc3339_micro()
        known = self.leases.get(name)
        try:
            if known is None:
                made = lease_object(name, node["metadata"].get("uid", ""), KubeletConfig(), stamp)
                try:
                    self.leases[name] = await self.client.create("leases", made)
                    return
                except StatusError as error:
                    if error.code != 409:
                        raise
                    known = await self.client.get("leases", name, "kube-node-lease")
            spec = {**known["spec"], "renewTime": stamp, "holderIdentity": name}
            self.leases[name] = await self.client.update("leases", {**known, "spec": spec})
        except StatusError as error:
            self.leases.pop(name, None)
            self.log.info("lease_not_renewed", node=name, error=error.message)


def _groups(user: str) -> tuple[str, ...]:
    """As the API server gives them to a user of that name."""
    if user.startswith("system:serviceaccount:") and user.count(":") == 3:
        namespace = user.split(":")[2]
        return "system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"
    if user.startswith("system:node:"):
        return "system:nodes", "system:authenticated"
    return ("system:authenticated",)


def _key(obj: Object) -> Key:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _name(obj: Object) -> str:
    return "/".join(filter(None, _key(obj)))


def _finalizers(have: list[str], wish: Mapping[str, Any]) -> list[str] | None:
    if wish.get("empty"):
        have = []
    gone = {item.get("value") for item in wish.get("remove") or ()}
    kept = [one for one in have if one not in gone]
    kept += [item["value"] for item in wish.get("add") or () if item.get("value") and item["value"] not in kept]
    return kept or None
