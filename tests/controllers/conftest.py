"""A control plane in a simulation for the controllers' tests: etcd, API server, some controllers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import OutsideClient, StatusError
from actors.controllers import ControllerManager, Options
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Ref, Simulation
from protocol.kinds import resource_for

Object = dict[str, Any]


def scope(what: str, namespace: str) -> str:
    """The namespace, or none for a cluster-scoped kind."""
    kind = resource_for(what)
    return namespace if kind is None or kind.namespaced else ""


class Plane:
    """The parts, and short verbs for what tests do. Times are virtual."""

    def __init__(self, controllers: str, seed: int = 0, minor: int = 36, **options: Any) -> None:
        self.sim = Simulation(seed=seed)
        self.etcd = self.sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())), host="etcd")
        config = ApiServerConfig(minor=minor, debug=True)
        self.api = self.sim.spawn(Child("apiserver", lambda: ApiServer(config, self.etcd)), host="apiserver")
        self.client = OutsideClient(self.sim, self.api)
        # pods are admitted only where their service account is
        self.options = Options(controllers=f"serviceaccount-controller,{controllers}", **options)
        self.manager: Ref = self.sim.spawn(
            Child("controller-manager", lambda: ControllerManager(self.api, self.options)), host="controllers"
        )
        self.eventually(lambda: self.get("serviceaccounts", "default"))

    def create(self, what: str, obj: Mapping[str, Any], namespace: str = "default") -> Object:
        return self.client.create(what, dict(obj), scope(what, namespace))

    def get(self, what: str, name: str, namespace: str = "default") -> Object | None:
        try:
            return self.client.get(what, name, scope(what, namespace))
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    def list(self, what: str, namespace: str = "", **selectors: str) -> list[Object]:
        return self.client.list(what, namespace, **selectors)

    def patch(self, what: str, name: str, body: Any, namespace: str = "default", **options: Any) -> Object:
        return self.client.patch(what, name, scope(what, namespace), body, **options)

    def delete(self, what: str, name: str, namespace: str = "default", **options: Any) -> None:
        self.client.delete(what, name, scope(what, namespace), **options)

    def set_status(self, what: str, name: str, status: Mapping[str, Any], namespace: str = "default") -> Object:
        """Merge fields into an object's status."""
        return self.patch(what, name, {"status": dict(status)}, namespace, subresource="status")

    def eventually(self, claim: Callable[[], Any], timeout_s: float = 30.0) -> Any:
        """Let time pass until `claim()` holds; returns what it answered."""
        end = self.sim.clock.monotonic() + timeout_s
        while True:
            found = claim()
            if found:
                return found
            if self.sim.clock.monotonic() >= end:
                raise AssertionError(f"not within {timeout_s} virtual seconds: {claim}")
            self.sim.advance(0.25)

    def events(self, reason: str = "", namespace: str = "") -> list[str]:
        """Events as `Type Reason Kind/name: message`."""
        return sorted(
            f"{e['type']} {e['reason']} {e['involvedObject']['kind']}/{e['involvedObject']['name']}: {e['message']}"
            for e in self.list("events", namespace)
            if not reason or e["reason"] == reason
        )


@pytest.fixture
def plane() -> Callable[..., Plane]:
    """Makes a `Plane` that runs the named controllers."""
    return Plane
