"""Strategies without a server: objects as a client writes them, through decoding and validation."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver.fieldvalidation import decode
from actors.apiserver.strategies import Context, Strategy, strategy_for
from protocol import kinds, schema
from protocol.api import ADMIN, UserInfo

Object = dict[str, Any]
NOW = 1767225600.0


class Addresses:
    """Allocators that give what is asked for, or the next free one."""

    def __init__(self) -> None:
        self.used: list[Any] = []

    def ip_families(self) -> tuple[str, ...]:
        return ("IPv4",)

    def allocate_ip(self, family: str, wanted: str, namespace: str, name: str) -> str:
        self.used.append(wanted or "10.96.0.77")
        return str(self.used[-1])

    def release_ip(self, address: str) -> None:
        self.used.remove(address)

    def allocate_port(self, wanted: int, protocol: str) -> int:
        self.used.append(wanted or 31999)
        return int(self.used[-1])

    def release_port(self, port: int) -> None:
        self.used.remove(port)


class Kit:
    """Creates and changes objects of one kind as the API server would."""

    def __init__(self, word: str, user: UserInfo = ADMIN) -> None:
        kind = kinds.resource_for(word)
        assert kind is not None, word
        self.kind = kind
        self.strategy: Strategy = strategy_for(kind)
        self.context = Context(NOW, user, random.Random(1), kinds.DEFAULT_MINOR, Addresses())

    def decoded(self, body: Object) -> Object:
        """A body in the form in which strategies get it, with its defaults."""
        kind = self.kind
        text = json.dumps(body).encode()
        obj, _ = decode(schema.load(36), (kind.group, kind.version, kind.kind), text, "Warn")
        meta = obj.setdefault("metadata", {})
        if kind.namespaced:
            meta.setdefault("namespace", "default")
        self.strategy.default(obj)
        return obj

    def try_create(self, body: Object) -> tuple[Object, list[str]]:
        """What would be stored, and what is wrong with it, as `field: message`."""
        obj = self.decoded(body)
        obj["metadata"].update(uid="u", creationTimestamp="2026-01-01T00:00:00Z")
        errors = self.strategy.begin_create(obj, self.context)
        if not errors:
            self.strategy.prepare_for_create(obj, self.context)
            errors = self.strategy.validate(obj)
        if not errors:
            self.strategy.canonicalize(obj)
        return obj, [f"{e.field}: {e.message}" for e in errors]

    def create(self, body: Object) -> Object:
        """A stored object; there must be nothing wrong with it."""
        obj, errors = self.try_create(body)
        assert errors == []
        obj["metadata"]["resourceVersion"] = "1"
        return obj

    def wrong(self, body: Object) -> list[str]:
        """What is wrong with a new object."""
        return self.try_create(body)[1]

    def try_update(
        self, old: Object, change: Callable[[Object], Any], sub: str = ""
    ) -> tuple[Object, list[str]]:
        """The object after a change of a copy, and what is wrong with that."""
        new = copy.deepcopy(old)
        change(new)
        self.strategy.default(new)
        strategy, context = self.strategy, self.context
        if sub == "status":
            strategy.prepare_for_status_update(new, old, context)
            errors = strategy.validate_status_update(new, old)
        elif sub:
            strategy.prepare_for_subresource(sub, new, old, context)
            errors = strategy.validate_subresource(sub, new, old)
        else:
            errors = strategy.begin_update(new, old, context)
            if not errors:
                strategy.prepare_for_update(new, old, context)
                errors = strategy.validate_update(new, old)
        return new, [f"{e.field}: {e.message}" for e in errors]

    def update(self, old: Object, change: Callable[[Object], Any], sub: str = "") -> Object:
        """The object after a change that is allowed."""
        new, errors = self.try_update(old, change, sub)
        assert errors == []
        return new

    def refused(self, old: Object, change: Callable[[Object], Any], sub: str = "") -> list[str]:
        """What is wrong with a change."""
        return self.try_update(old, change, sub)[1]

    def cells(self, obj: Object) -> dict[str, Any]:
        """A table's row by column."""
        names = [column.name for column in self.strategy.columns()]
        return dict(zip(names, self.strategy.row(obj, NOW + 60), strict=False))


@pytest.fixture
def kit() -> Callable[..., Kit]:
    """`kit("deployments")`: a kind by any name that kubectl knows."""
    return Kit


@pytest.fixture
def pod_spec() -> Callable[..., Object]:
    """The smallest PodSpec, with more fields if wanted."""

    def make(**more: Any) -> Object:
        return {"containers": [{"name": "c", "image": "registry.example/app:1"}], **more}

    return make


@pytest.fixture
def template(pod_spec: Callable[..., Object]) -> Callable[..., Object]:
    """A pod template with the label `app: a`."""

    def make(**more: Any) -> Object:
        return {"metadata": {"labels": {"app": "a"}}, "spec": pod_spec(**more)}

    return make
