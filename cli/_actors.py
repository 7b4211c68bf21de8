"""The actor tree of a running cluster and the rates of its messages, from two looks at it.

What the API server says of its process at `/debug/actors`, folded into the tree that the actors'
paths spell. Knows nothing of how it is drawn.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from actors.client import load_kubeconfig
from cli._errors import Failed, UsageError

__all__ = ["Look", "Source", "Twig", "tree"]

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Look:
    """What every actor said of itself at one time (seconds since the epoch)."""

    time_s: float
    actors: tuple[Mapping[str, Any], ...]


class Source:
    """A kept connection to the API server that a kubeconfig names."""

    def __init__(self, kubeconfig: Path) -> None:
        try:
            self._config = load_kubeconfig(kubeconfig)
        except ValueError as error:
            raise UsageError(str(error)) from None
        self._connection: http.client.HTTPConnection | None = None

    def look(self) -> Look:
        """Look now. Raises: Failed, when the server is gone, refuses, or is another one."""
        config = self._config
        try:
            if self._connection is None:
                if config.tls is None:
                    self._connection = http.client.HTTPConnection(config.host, config.port, timeout=TIMEOUT_S)
                else:
                    self._connection = http.client.HTTPSConnection(
                        config.host, config.port, timeout=TIMEOUT_S, context=config.tls
                    )
            headers = {"Authorization": config.authorization} if config.authorization else {}
            self._connection.request("GET", f"{config.prefix}/debug/actors", headers=headers)
            reply = self._connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection = None
            raise Failed(f"no answer from https://{config.host}:{config.port}: {error}") from None
        if reply.status != 200:
            why = "it is no Kubekka" if reply.status == 404 else f"it answers {reply.status} {reply.reason}"
            raise Failed(f"https://{config.host}:{config.port} does not tell of its actors: {why}")
        told = orjson.loads(body)
        return Look(told["time"], tuple(told["actors"]))


@dataclass
class Twig:
    """One actor, or all actors below a path of which too many are alike to be shown one by one.
    `rate` is messages per second; `count` how many actors it stands for; sums include them all."""

    name: str
    kind: str = ""
    state: str = ""
    count: int = 0
    mailbox: int = 0
    handled: int = 0
    rate: float = 0.0
    restarts: int = 0
    tasks: int = 0
    children: dict[str, Twig] = field(default_factory=dict)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Twig]]:
        """This one and those below, with their depths."""
        yield depth, self
        for child in self.children.values():
            yield from child.walk(depth + 1)

    def total(self, what: str) -> float:
        """A sum over this one and those below."""
        return float(getattr(self, what)) + sum(child.total(what) for child in self.children.values())


def tree(now: Look, before: Look | None = None, fold: int = 12) -> Twig:
    """The tree of a look, with rates since the look before. More than `fold` siblings become one."""
    earlier = {one["actor_urn"]: one for one in before.actors} if before else {}
    passed_s = now.time_s - before.time_s if before else 0.0
    root = Twig("")
    for one in now.actors:
        if one["kind"] == "NoneType":  # the system's own root, which is no actor of anybody's
            continue
        twig = root
        for part in one["actor_urn"].split("/"):
            twig = twig.children.setdefault(part, Twig(part))
        twig.kind, twig.state, twig.count = one["kind"], one["state"], 1
        twig.mailbox, twig.handled = one["mailbox"], one["handled"]
        twig.restarts, twig.tasks = one["restarts"], one["tasks"]
        old = earlier.get(one["actor_urn"])
        if old is not None and passed_s > 0 and old["restarts"] == one["restarts"]:
            twig.rate = max(one["handled"] - old["handled"], 0) / passed_s
    _fold(root, fold)
    return root


def _fold(twig: Twig, most: int) -> None:
    for child in twig.children.values():
        _fold(child, most)
    if len(twig.children) <= most:
        return
    kinds: dict[str, list[Twig]] = {}
    for child in twig.children.values():
        kinds.setdefault(child.kind, []).append(child)
    twig.children = {}
    for kind, alike in kinds.items():
        if len(alike) <= most // 2:
            twig.children.update((child.name, child) for child in alike)
            continue
        whole = Twig(f"{len(alike)} x {kind}", kind, rate=sum(child.total("rate") for child in alike))
        for what in ("count", "mailbox", "handled", "restarts", "tasks"):
            setattr(whole, what, int(sum(child.total(what) for child in alike)))
        twig.children[f"* {kind}"] = whole
