"""The verbs that break a cluster: what each takes, does, and undoes.

Owns the choice of victims (by a seeded random source of its own), durations and the log of what was
injected. It breaks things only in ways that a real cluster breaks.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from actors.kernel import ActorSystem, Link, LiveSystem, Ref, Simulation, crash, revive
from protocol.conditions import (
    API,
    DISK,
    PROBES,
    REGISTRY,
    ApiFault,
    BreakWatches,
    ForgetHistory,
    PowerOff,
    ProbeFault,
    RegistryFault,
    SlowDisk,
    Unsettle,
)
from protocol.cri import CONTAINER_RUNNING, ListContainers, ListPodSandbox, StopContainer, StopPodSandbox
from protocol.etcd import Alarm

__all__ = ["VERBS", "FaultError", "Faults", "Injection"]

End = Callable[[], Awaitable[None]]
COMPONENTS = {"controllers": "controller-manager"}
ASK_S = 30.0


class FaultError(ValueError):
    """A fault that cannot be injected; the text says why and what can be."""


@dataclass(frozen=True)
class Verb:
    """What a verb takes: parameter names with their types and defaults (None: required)."""

    about: str
    parameters: dict[str, tuple[type, Any]]


_SCOPE: dict[str, tuple[type, Any]] = {
    "rate": (float, 1.0), "users": (str, "*"), "verbs": (str, "*"), "resources": (str, "*"),
}  # fmt: skip
VERBS: dict[str, Verb] = {
    "kill": Verb("a component, node/N, pod/NS/NAME or container/NS/POD/NAME dies", {"target": (str, None)}),
    "restart": Verb("it dies and is started again at once", {"target": (str, None)}),
    "pause": Verb("it is stopped and handles nothing", {"target": (str, None)}),
    "cut": Verb("nothing passes between host A and host B (or everyone)", {"a": (str, None), "b": (str, "")}),
    "delay": Verb(
        "messages between two hosts take so many seconds",
        {"a": (str, None), "b": (str, None), "seconds": (float, None), "most": (float, 0.0)},
    ),
    "drop": Verb("messages between two hosts are lost", {"a": (str, None), "b": (str, None), "rate": (float, 1.0)}),
    "duplicate": Verb(
        "messages between two hosts arrive twice", {"a": (str, None), "b": (str, None), "rate": (float, 1.0)}
    ),
    "slow-disk": Verb("each write of etcd takes longer", {"seconds": (float, None)}),
    "full-disk": Verb("etcd has no space left", {}),
    "skew": Verb("the clock of a host is wrong", {"host": (str, None), "seconds": (float, None)}),
    "api-error": Verb(
        "requests fail with a code; `after`: they are carried out, and only the answer is lost",
        {"code": (int, None), "after": (bool, False), **_SCOPE},
    ),
    "api-delay": Verb("requests take longer", {"seconds": (float, None), **_SCOPE}),
    "break-watches": Verb("open watches end", {"rate": (float, 1.0), "every": (float, 0.0), "users": (str, "*"), "resources": (str, "*")}),
    "compact": Verb("all resource versions but the latest expire", {}),
    "registry-down": Verb("image pulls fail", {"images": (str, "*")}),
    "registry-slow": Verb("image pulls take longer", {"seconds": (float, None), "images": (str, "*")}),
    "flap-probes": Verb("probes fail now and then", {"rate": (float, 0.5), "pods": (str, "*")}),
}
API_CODES = (409, 410, 429, 500, 503, 504)


@dataclass
class Injection:
    """One fault: when it began and ended, in seconds of the cluster's monotonic clock."""

    id: int
    verb: str
    parameters: dict[str, Any]
    began_s: float
    ended_s: float | None = None
    victim: str = ""
    end: End | None = field(default=None, repr=False)

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        shown = {"id": self.id, "verb": self.verb, **self.parameters, "began": round(self.began_s, 3)}
        if self.victim:
            shown["victim"] = self.victim
        if self.ended_s is not None:
            shown["ended"] = round(self.ended_s, 3)
        return shown


def checked(verb: str, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a verb, all of them, in their types. Raises: FaultError."""
    known = VERBS.get(verb)
    if known is None:
        raise FaultError(f"there is no fault {verb!r}; there are: {', '.join(VERBS)}")
    for name in given:
        if name not in known.parameters:
            raise FaultError(f"{verb} takes no {name!r}; it takes: {', '.join([*known.parameters, 'for'])}")
    found: dict[str, Any] = {}
    for name, (kind, default) in known.parameters.items():
        value = given.get(name, default)
        if value is None:
            raise FaultError(f"{verb} needs `{name}` ({kind.__name__}): {known.about}")
        try:
            found[name] = str(value).lower() in ("true", "1", "yes") if kind is bool else kind(value)
        except (TypeError, ValueError):
            raise FaultError(f"{verb}: {name} is a {kind.__name__}, not {value!r}") from None
    if not 0.0 <= found.get("rate", 0.0) <= 1.0:
        raise FaultError(f"{verb}: rate is a probability from 0 to 1, not {found['rate']}")
    if found.get("code", 500) not in API_CODES:
        raise FaultError(f"{verb}: code is one of {', '.join(map(str, API_CODES))}, not {found['code']}")
    return found


class Faults:
    """Breaks one cluster. Each verb is also a method: `faults.kill("scheduler", for_s=20)`,
    `faults.api_error(code=500, rate=0.1)`; without `for_s` it lasts until `stop(injection)`.

    `durable`: the store is on a disk, so that etcd may be killed.
    """

    def __init__(self, system: ActorSystem, *, seed: int = 0, durable: bool = False) -> None:
        self.system = system
        self.durable = durable
        self.random = random.Random(f"faults {seed}")
        self.log: list[Injection] = []

    # -- From outside --------------------------------------------------------------------------

    def inject(self, verb: str, for_s: float | None = None, **parameters: Any) -> Injection:
        """Begin a fault; it ends by itself in `for_s` seconds. Raises: FaultError."""
        found: Injection = self._run(partial(self.begin, verb, parameters, for_s))
        return found

    def stop(self, injection: Injection | int) -> None:
        """End a fault; harmless when it is over. Raises: FaultError for a number that is none."""
        number = injection if isinstance(injection, int) else injection.id
        self._run(partial(self.finish, number))

    def stop_all(self) -> None:
        """End all faults."""
        for injection in self.log:
            self.stop(injection)

    def __getattr__(self, name: str) -> Callable[..., Injection]:
        verb = name.replace("_", "-")
        if verb not in VERBS:
            raise AttributeError(f"there is no fault {verb!r}; there are: {', '.join(VERBS)}")

        def call(*positional: Any, for_s: float | None = None, **named: Any) -> Injection:
            return self.inject(verb, for_s, **dict(zip(VERBS[verb].parameters, positional, strict=False)), **named)

        return call

    def _run(self, work: Callable[[], Any]) -> Any:
        if isinstance(self.system, Simulation):
            return self.system.do(work())
        assert isinstance(self.system, LiveSystem)
        return self.system.call(work)

    # -- On the dispatcher ---------------------------------------------------------------------

    async def begin(self, verb: str, given: dict[str, Any], for_s: float | None = None) -> Injection:
        """As `inject`, for code on the dispatcher."""
        parameters = checked(verb, given)
        if isinstance(self.system, LiveSystem) and verb in ("cut", "delay", "drop", "duplicate"):
            self.system.observe()
        now = self.system.clock.monotonic()
        injection = Injection(len(self.log) + 1, verb, parameters, now)
        injection.end = await getattr(self, "_do_" + verb.replace("-", "_"))(injection, **parameters)
        self.log.append(injection)
        if injection.end is None:
            injection.ended_s = now
        elif for_s is not None:
            self.system.after(for_s, lambda: self.system.start(self.finish(injection.id)) and None)
        return injection

    async def finish(self, number: int) -> None:
        """As `stop`, for code on the dispatcher."""
        if not 0 < number <= len(self.log):
            raise FaultError(f"there is no fault number {number}")
        injection = self.log[number - 1]
        end, injection.end = injection.end, None
        if end is not None:
            injection.ended_s = self.system.clock.monotonic()
            await end()

    async def _ask(self, ref: Ref, message: Any) -> Any:
        return await ref.ask(message, block=False)

    def _ref(self, path: str) -> Ref:
        ref = self.system.lookup(path)
        if ref is None:
            top = sorted(p for p in self.system.actors if "/" not in p and p not in ("root", "desk"))
            raise FaultError(f"there is no {path!r}; there are: {', '.join(top[:20])}")
        return ref

    def _draw(self, pattern: str, names: list[str], what: str) -> str:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            raise FaultError(f"no {what} matches {pattern!r}")
        return found[0] if len(found) == 1 else self.random.choice(sorted(found))

    def nodes(self) -> list[str]:
        """The machines of this cluster."""
        return [p.removesuffix("/runtime") for p in self.system.actors if p.count("/") == 1 and p.endswith("/runtime")]

    def _components(self, target: str, injection: Injection) -> list[Ref]:
        """The actors of a component or a machine."""
        kind, _, name = target.partition("/")
        if kind in ("node", "kubelet", "runtime"):
            node = injection.victim = self._draw(name, self.nodes(), "node")
            if kind != "node":
                return [self._ref(f"{node}/{kind}")]
            proxy = self.system.lookup(f"kube-proxy-{node}")
            return [self._ref(node), *([proxy] if proxy is not None else [])]
        injection.victim = COMPONENTS.get(target, target)
        return [self._ref(injection.victim)]

    async def _containers(self, target: str, injection: Injection) -> tuple[Ref, list[str], list[str]]:
        """The runtime, the sandboxes and the containers that are meant by a pod or a container."""
        kind, *names = target.split("/")
        if len(names) != (2 if kind == "pod" else 3):
            raise FaultError(f"{target!r} is no target: write pod/NAMESPACE/NAME or container/NAMESPACE/POD/NAME")
        pods: dict[str, tuple[Ref, str]] = {}
        for node in self.nodes():
            runtime = self._ref(f"{node}/runtime")
            for sandbox in await self._ask(runtime, ListPodSandbox()):
                if sandbox.ready:
                    pods[f"{sandbox.namespace}/{sandbox.name}"] = (runtime, sandbox.id)
        injection.victim = self._draw("/".join(names[:2]), list(pods), "running pod")
        runtime, ident = pods[injection.victim]
        containers = [
            c.id for c in await self._ask(runtime, ListContainers())
            if c.pod_sandbox_id == ident and c.state == CONTAINER_RUNNING and (kind == "pod" or c.name == names[2])
        ]  # fmt: skip
        if kind == "container" and not containers:
            raise FaultError(f"pod {injection.victim} runs no container {names[2]!r}")
        return runtime, [ident] if kind == "pod" else [], containers

    async def _do_kill(self, injection: Injection, target: str) -> End | None:
        if target.startswith(("pod/", "container/")):
            runtime, sandboxes, containers = await self._containers(target, injection)
            for ident in containers:
                await self._ask(runtime, StopContainer(ident, 0))
            for ident in sandboxes:
                await self._ask(runtime, StopPodSandbox(ident))
            return None
        if target == "etcd" and not self.durable:
            raise FaultError("etcd keeps everything in memory here, and the cluster would be lost: pause etcd instead")
        refs = self._components(target, injection)
        if target.startswith("node/"):
            await self._ask(self._ref(f"{injection.victim}/runtime"), PowerOff())
        for ref in refs:
            crash(ref, None)  # type: ignore[arg-type]

        async def end() -> None:
            for ref in refs:
                revive(ref)  # type: ignore[arg-type]

        return end

    async def _do_restart(self, injection: Injection, target: str) -> End | None:
        end = await self._do_kill(injection, target)
        if end is not None:
            await end()
        return None

    async def _do_pause(self, injection: Injection, target: str) -> End:
        if target.startswith(("pod/", "container/")):
            runtime, sandboxes, _ = await self._containers(f"pod/{'/'.join(target.split('/')[1:3])}", injection)
            name = f"{injection.victim.replace('/', '.')}.{sandboxes[0][:12]}"
            refs = [self._ref(f"{runtime.actor_urn}/{name}")]
        else:
            refs = self._components(target, injection)
        system: Any = self.system
        for ref in refs:
            system.pause(ref)

        async def end() -> None:
            for ref in refs:
                system.resume(ref)

        return end

    def _link(self, a: str, b: str, link: Link) -> End:
        links: Any = self.system.links  # type: ignore[attr-defined]
        known = {cell.host for cell in self.system.actors.values()}
        for host in (a, b):
            if host not in known:
                raise FaultError(f"there is no host {host!r}; there are: {', '.join(sorted(known)[:20])}")
        links.set(a, b, link)

        async def end() -> None:
            links.mend(a, b)

        return end

    async def _do_cut(self, injection: Injection, a: str, b: str) -> End:
        if b:
            return self._link(a, b, Link(cut=True))
        links: Any = self.system.links  # type: ignore[attr-defined]
        hosts = sorted({cell.host for cell in self.system.actors.values()})
        host = injection.victim = self._draw(a, hosts, "host")
        links.isolate(host)

        async def end() -> None:
            links.rejoin(host)

        return end

    async def _do_delay(self, injection: Injection, a: str, b: str, seconds: float, most: float) -> End:
        return self._link(a, b, Link(seconds, max(seconds, most)))

    async def _do_drop(self, injection: Injection, a: str, b: str, rate: float) -> End:
        return self._link(a, b, Link(drop=rate))

    async def _do_duplicate(self, injection: Injection, a: str, b: str, rate: float) -> End:
        return self._link(a, b, Link(duplicate=rate))

    def _condition(self, key: str, value: Any) -> End:
        world = self.system.world
        world[key] = value

        async def end() -> None:
            if world.get(key) is value:
                del world[key]

        return end

    async def _do_slow_disk(self, injection: Injection, seconds: float) -> End:
        return self._condition(DISK, SlowDisk(seconds))

    async def _do_full_disk(self, injection: Injection) -> End:
        etcd = self._ref("etcd")
        await self._ask(etcd, Alarm("ACTIVATE", 0, "NOSPACE"))

        async def end() -> None:
            await self._ask(etcd, Alarm("DEACTIVATE", 0, "NOSPACE"))

        return end

    async def _do_skew(self, injection: Injection, host: str, seconds: float) -> End:
        self.system.skew(host, seconds)

        async def end() -> None:
            self.system.skew(host, 0.0)

        return end

    def _api(self, fault: ApiFault) -> End:
        world = self.system.world
        world[API] = (*world.get(API, ()), fault)

        async def end() -> None:
            left = tuple(f for f in world.get(API, ()) if f is not fault)
            world[API] = left
            if not left:
                del world[API]

        return end

    async def _do_api_error(
        self, injection: Injection, code: int, after: bool, rate: float, users: str, verbs: str, resources: str
    ) -> End:
        return self._api(ApiFault(code, rate, 0.0, _words(users), _words(verbs), _words(resources), after))

    async def _do_api_delay(
        self, injection: Injection, seconds: float, rate: float, users: str, verbs: str, resources: str
    ) -> End:
        return self._api(ApiFault(0, rate, seconds, _words(users), _words(verbs), _words(resources)))

    async def _do_break_watches(self, injection: Injection, rate: float, every: float, users: str, resources: str) -> End | None:
        apiserver, over = self._ref("apiserver"), False
        message = BreakWatches(rate, _words(users), _words(resources))

        def strike() -> None:
            if not over:
                apiserver.tell(message)
                self.system.after(every, strike)

        apiserver.tell(message)
        if every <= 0.0:
            return None
        self.system.after(every, strike)

        async def end() -> None:
            nonlocal over
            over = True

        return end

    async def _do_compact(self, injection: Injection) -> None:
        await self._ask(self._ref("apiserver"), ForgetHistory())

    async def _do_registry_down(self, injection: Injection, images: str) -> End:
        return self._condition(REGISTRY, RegistryFault(True, 0.0, _words(images)))

    async def _do_registry_slow(self, injection: Injection, seconds: float, images: str) -> End:
        return self._condition(REGISTRY, RegistryFault(False, seconds, _words(images)))

    async def _do_flap_probes(self, injection: Injection, rate: float, pods: str) -> End:
        end = self._condition(PROBES, ProbeFault(rate, _words(pods)))
        for path, cell in list(self.system.actors.items()):
            if "/kubelet/" in path and Unsettle in cell.handlers:
                cell.tell(Unsettle())
        return end


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(",", " ").split() if word) or ("*",)
