"""HTTP extenders: webhooks that filter, rank or bind pods.

https://github.com/kubernetes/design-proposals-archive/blob/main/scheduling/scheduler_extender.md
The scheduling cycle must not wait for a network, and may not run beside another cycle. So a pod
that an extender is interested in is asked about *before* its cycle: `consult` runs beside the
scheduling of other pods, and the cycle uses what came back. Preemption is asked about *after* the
cycle that found candidates (`preempt`); the pod waits for the answer outside the queue. An answer
about nodes that have changed meanwhile is no worse than upstream's, whose webhook also sees the
cluster of a moment ago.

The requests are made by an actor of its own, which may block (`HttpCaller`). Bodies have the field
names of `k8s.io/kube-scheduler/extender/v1`, which Go writes with capitals; answers are read in any
case, as Go reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from actors.kernel import ActorDead, AskTimeout, Child, Ref, ThreadActor, handles
from actors.scheduler._config import ExtenderConfig, ExtenderTls
from actors.scheduler._nodes import Ints
from actors.scheduler._pods import PodInfo
from actors.scheduler._status import SKIP, SUCCESS, Code, Status
from actors.scheduler.plugins.default_preemption import Candidate, more_important
from protocol.message import Message

if TYPE_CHECKING:
    from actors.scheduler._actor import Scheduler

__all__ = ["Extender", "HttpCaller", "Post", "attach"]

Object = dict[str, Any]
MAX_PRIORITY = 10
NAME = "Extender"
"""Stands for a plugin: a pod that an extender rejected is tried again after any event."""


class Post(Message, frozen=True):
    """POST `body` as JSON to `url`; answered by the decoded JSON. Raises `OSError`."""

    url: str
    body: Any
    timeout_s: float
    tls: ExtenderTls | None = None


class HttpCaller(ThreadActor):
    """Makes requests, one after another, on a thread of its own."""

    @handles(Post)
    def post(self, message: Post) -> Any:
        from urllib.error import HTTPError
        from urllib.request import Request, urlopen

        request = Request(message.url, orjson.dumps(message.body), {"Content-Type": "application/json"})
        if not message.url.startswith(("http://", "https://")):
            raise OSError(f"not an HTTP address: {message.url}")
        try:
            secure = _context(message.tls) if message.url.startswith("https://") else None
            with urlopen(request, timeout=message.timeout_s, context=secure) as answer:
                return orjson.loads(answer.read() or b"null")
        except HTTPError as error:
            raise OSError(
                f"failed {message.url.rsplit('/', 1)[-1]} with extender at URL {message.url}, code {error.code}"
            ) from None
        except ValueError as error:
            raise OSError(f"{message.url}: {error}") from None


def _context(tls: ExtenderTls | None) -> Any:
    """How to trust an extender's server and to be trusted by it. Raises `OSError`."""
    import ssl

    tls = tls or ExtenderTls()
    context = ssl.create_default_context(cafile=tls.ca_file or None, cadata=tls.ca_data or None)
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file or None)
    return context


def _any_case(said: Any, problem: str = "") -> dict[str, Any]:
    """The fields of an answer by their names in small letters. Raises `OSError` with its error."""
    if said is not None and not isinstance(said, dict):
        raise OSError(problem or "the extender's answer is not an object")
    found = {k.lower(): v for k, v in (said or {}).items()}
    if found.get("error"):
        raise OSError(str(found["error"]))
    return found


@dataclass
class _Answer:
    """What an extender said about a pod."""

    kept: set[str] = field(default_factory=set)
    refused: dict[str, Status] = field(default_factory=dict)
    scores: dict[str, int] = field(default_factory=dict)
    filtered: bool = False


class Extender:
    """One configured extender."""

    def __init__(self, config: ExtenderConfig, caller: Ref, scheduler: Scheduler) -> None:
        self.config = config
        self.caller = caller
        self.scheduler = scheduler
        self.answers: dict[str, _Answer] = {}

    @property
    def binds(self) -> bool:
        return bool(self.config.bind_verb)

    def interested(self, pod: PodInfo) -> bool:
        """Whether the extender wants to be asked: always, or only for its resources."""
        if not self.config.managed_resources:
            return True
        names = self.scheduler.cache.resources.names
        return any(names[place] in self.config.managed_resources for place, _ in pod.cls.requests)

    async def _call(self, verb: str, body: Any) -> Any:
        url = f"{self.config.url_prefix}/{verb}"
        timeout_s = self.config.timeout_s
        try:
            return await self.scheduler.ask(
                self.caller, Post(url, body, timeout_s, self.config.tls), timeout=timeout_s + 1.0
            )
        except (AskTimeout, ActorDead) as error:
            raise OSError(f"{url}: {error}") from None

    def _arguments(self, pod: PodInfo, names: list[str]) -> Object:
        if self.config.node_cache_capable:
            return {"Pod": pod.object, "Nodes": None, "NodeNames": names}
        table = self.scheduler.cache.table
        items = [table.objects[table.index[n]] for n in names]
        return {"Pod": pod.object, "Nodes": {"metadata": {}, "items": items}, "NodeNames": None}

    # --- before the cycle ------------------------------------------------------------------

    async def consult(self, pod: PodInfo, names: list[str]) -> list[str]:
        """Ask about a pod and the nodes that are left; answers those that are left now. Raises
        `OSError` unless the extender may be ignored."""
        answer = self.answers[pod.uid] = _Answer(set(names))
        try:
            if self.config.filter_verb and names:
                self._take_filter(answer, await self._call(self.config.filter_verb, self._arguments(pod, names)))
            left = [n for n in names if n in answer.kept]
        except OSError as error:
            if not self.config.ignorable:
                raise
            self._ignored(error)
            return names
        if self.config.prioritize_verb and left:
            try:
                said = await self._call(self.config.prioritize_verb, self._arguments(pod, left))
                listed = [_any_case(entry) for entry in said or ()]
                answer.scores = {s.get("host", ""): int(s.get("score", 0)) for s in listed}
            except (OSError, TypeError, ValueError) as error:
                self._ignored(error)  # others may still rank: a lost ranking fails no pod
        return left

    def _ignored(self, error: Exception) -> None:
        self.scheduler.log.warning("extender_ignored", url=self.config.url_prefix, error=str(error))

    def _take_filter(self, answer: _Answer, said: Any) -> None:
        said = _any_case(said)
        if said.get("nodenames") is not None:
            answer.kept = set(said["nodenames"])
        else:
            items = (said.get("nodes") or {}).get("items") or ()
            answer.kept = {i["metadata"]["name"] for i in items}
        answer.filtered = True
        for part, code in (("failednodes", Code.UNSCHEDULABLE), ("failedandunresolvablenodes", Code.UNRESOLVABLE)):
            for name, reason in (said.get(part) or {}).items():
                answer.refused[name] = Status(code, (reason,), NAME)

    def forget(self, uid: str) -> None:
        """The pod is decided on."""
        self.answers.pop(uid, None)

    # --- in the cycle ----------------------------------------------------------------------

    def filter(self, pod: PodInfo, names: list[str]) -> tuple[set[str], dict[str, Status]]:
        """Nodes that may take the pod, and what is to be said of the others. A node that was not
        there when the extender was asked has to wait for the next attempt."""
        answer = self.answers.get(pod.uid)
        if answer is None or not answer.filtered:
            return set(names), {}
        unknown = Status(Code.UNSCHEDULABLE, ("node(s) rejected by extender",), NAME)
        refused = {n: answer.refused.get(n, unknown) for n in names if n not in answer.kept}
        return {n for n in names if n in answer.kept}, refused

    def prioritize(self, pod: PodInfo, names: list[str]) -> Ints:
        """Weighted scores, on the scale of the plugins."""
        answer = self.answers.get(pod.uid)
        scores = answer.scores if answer is not None else {}
        factor = self.config.weight * 100 // MAX_PRIORITY
        return np.array([scores.get(n, 0) * factor for n in names], np.int64)

    async def bind(self, pod: PodInfo, node: str) -> Status:
        """Have the extender bind the pod. `SKIP`: it failed and may be ignored, so another binds."""
        body = {"PodName": pod.name, "PodNamespace": pod.namespace, "PodUID": pod.uid, "Node": node}
        try:
            _any_case(await self._call(self.config.bind_verb, body))
        except OSError as error:
            if self.config.ignorable:
                self._ignored(error)
                return SKIP
            return Status(Code.ERROR, (str(error),), NAME)
        return SUCCESS

    # --- after a cycle that found no node ---------------------------------------------------

    @property
    def preempts(self) -> bool:
        return bool(self.config.preempt_verb)

    async def preempt(self, pod: PodInfo, candidates: list[Candidate]) -> list[Candidate]:
        """Which of the candidates are left, with the victims that the extender names. Raises
        `OSError` unless the extender may be ignored."""
        by_node = {c.node: c for c in candidates}
        meta = self.config.node_cache_capable
        victims = {
            c.node: {
                "Pods": [{"UID": v.uid} if meta else v.object for v in c.victims],
                "NumPDBViolations": c.violations,
            }
            for c in candidates
        }
        body = {
            "Pod": pod.object,
            "NodeNameToVictims": None if meta else victims,
            "NodeNameToMetaVictims": victims if meta else None,
        }
        try:
            said = _any_case(await self._call(self.config.preempt_verb, body))
            answers = said.get("nodenametometavictims") or {}
            return [
                one
                for node, wish in answers.items()
                if (one := self._candidate(node, _any_case(wish), by_node)) is not None
            ]
        except OSError as error:
            if not self.config.ignorable:
                raise
            self._ignored(error)
            return candidates

    def _candidate(self, node: str, wish: Mapping[str, Any], offered: Mapping[str, Candidate]) -> Candidate | None:
        """What the extender wants on a node; None if that is nothing and the extender ignorable."""
        cache = self.scheduler.cache
        row = cache.table.index.get(node)
        here = {p.uid: p for p in cache.pods_on(row).values()} if row is not None else {}
        here.update({v.uid: v for v in (offered[node].victims if node in offered else ())})
        victims = []
        for entry in wish.get("pods") or ():
            uid = _any_case(entry).get("uid", "")
            if uid not in here:
                raise OSError(
                    f"extender: {self.config.url_prefix} claims to preempt pod (UID: {uid}) on node: {node}, "
                    "but the pod is not found on that node"
                )
            victims.append(here[uid])
        if not victims:
            if self.config.ignorable:
                return None
            raise OSError(f'expected at least one victim pod on node "{node}"')
        victims.sort(key=more_important)
        return Candidate(node, tuple(victims), int(wish.get("numpdbviolations") or 0))


def attach(scheduler: Scheduler, configs: tuple[ExtenderConfig, ...]) -> list[Extender]:
    """Give every engine of a scheduler its extenders. Each has a caller of its own, so that a slow
    one does not keep the others waiting."""
    made = []
    for i, config in enumerate(configs):
        caller = scheduler.spawn(Child(f"extender-{i}", HttpCaller))
        made.append(Extender(config, caller, scheduler))
    for engine in scheduler.engines.values():
        engine.extenders = list(made)
    return made
