"""The cluster controllers under faults: crashes, cuts and lost mail, and the truth afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from actors.client import StatusError

Object = dict[str, Any]
CONTROLLERS = ",".join(
    (
        "endpoints-controller",
        "endpointslice-controller",
        "garbage-collector-controller",
        "namespace-controller",
        "resourcequota-controller",
        "persistentvolume-binder-controller",
        "persistentvolumeclaim-protection-controller",
        "persistentvolume-protection-controller",
    )
)


class Storm:
    """A plane in which something breaks every few steps while objects come and go."""

    def __init__(self, plane: Callable[..., Any], seed: int) -> None:
        self.plane = plane(CONTROLLERS, seed=seed)
        self.random = random.Random(seed)
        self.plane.create("nodes", {"metadata": {"name": "n"}})
        self.plane.create(
            "services", {"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}, "ports": [{"port": 80}]}}
        )
        self.plane.create(
            "resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "99", "configmaps": "99"}}}
        )
        self.count = 0

    def attempt(self, work: Callable[[], Any]) -> None:
        """What a user tries; it may be refused while things are broken."""
        try:
            work()
        except StatusError:
            self.plane.sim.advance(1.0)

    def step(self) -> None:
        what = self.random.choice(("pod", "pod gone", "owned", "owner gone", "claim", "claim gone"))
        self.count += 1
        pods = self.plane.list("pods", "default")
        if what == "pod":
            self.attempt(self.pod)
        elif what == "pod gone" and pods:
            self.attempt(lambda: self.plane.delete("pods", pods[0]["metadata"]["name"], grace_period_s=0))
        elif what == "owned":
            self.attempt(self.owned)
        elif what == "owner gone":
            owners = [c for c in self.plane.list("configmaps", "default") if c["metadata"]["name"].startswith("owner")]
            if owners:
                how = self.random.choice(("Background", "Foreground"))
                self.attempt(lambda: self.plane.delete("configmaps", owners[0]["metadata"]["name"], propagation=how))
        elif what == "claim":
            self.attempt(self.claim)
        elif what == "claim gone":
            claims = self.plane.list("persistentvolumeclaims", "default")
            if claims:
                self.attempt(lambda: self.plane.delete("persistentvolumeclaims", claims[0]["metadata"]["name"]))

    def pod(self) -> None:
        name = f"p{self.count}"
        spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
        self.plane.create("pods", {"metadata": {"name": name, "labels": {"app": "s"}}, "spec": spec})
        ip = f"10.0.{self.count // 200}.{self.count % 200 + 1}"
        ready = [{"type": "Ready", "status": self.random.choice(("True", "False"))}]
        self.plane.set_status(
            "pods", name, {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": ready}
        )

    def owned(self) -> None:
        owner = self.plane.create("configmaps", {"metadata": {"name": f"owner{self.count}"}})
        ref = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        self.plane.create("configmaps", {"metadata": {"name": f"child{self.count}", "ownerReferences": [ref]}})

    def claim(self) -> None:
        spec = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}},
        }
        self.plane.create("persistentvolumeclaims", {"metadata": {"name": f"claim{self.count}"}, "spec": spec})

    def break_something(self) -> None:
        sim = self.plane.sim
        fault = self.random.choice(("crash one", "crash all", "cut", "loss", "nothing"))
        if fault == "crash one":
            children = [c for c in self.plane.manager.children.values() if c.is_alive()]
            sim.crash(self.random.choice(children), restart_after_s=0.5)
        elif fault == "crash all":
            sim.crash(self.plane.manager, restart_after_s=1.0)
        elif fault == "cut":
            sim.partition("controllers", "apiserver")
        elif fault == "loss":
            sim.link("controllers", "apiserver", delay=(0.0, 0.05), drop=0.05)

    def heal(self) -> None:
        self.plane.sim.heal()

    def check(self) -> None:
        plane = self.plane
        pods = {p["metadata"]["name"]: p for p in plane.list("pods", "default")}
        slices = plane.list("endpointslices", label_selector="kubernetes.io/service-name=s")
        named = [e["targetRef"]["name"] for s in slices for e in s.get("endpoints") or ()]
        assert sorted(named) == sorted(pods), "every pod is an endpoint, once"
        subsets = (plane.get("endpoints", "s") or {}).get("subsets") or []
        addressed = [
            a["targetRef"]["name"] for s in subsets for f in ("addresses", "notReadyAddresses") for a in s.get(f) or ()
        ]
        assert sorted(addressed) == sorted(pods)
        maps = [c["metadata"]["name"] for c in plane.list("configmaps", "default")]
        owners = {m.removeprefix("owner") for m in maps if m.startswith("owner")}
        assert {m.removeprefix("child") for m in maps if m.startswith("child")} <= owners, "nothing is orphaned"
        used = plane.get("resourcequotas", "q")["status"]["used"]
        assert used == {"pods": str(len(pods)), "configmaps": str(len(maps))}
        claims = plane.list("persistentvolumeclaims", "default")
        volumes = plane.list("persistentvolumes")
        assert sorted(c["spec"]["volumeName"] for c in claims) == sorted(v["metadata"]["name"] for v in volumes)
        assert all(c["status"]["phase"] == "Bound" for c in claims)
        assert not [c for c in claims if c["metadata"].get("deletionTimestamp")], "no finalizer is stuck"


@pytest.mark.parametrize("seed", range(8))
def test_the_world_is_right_once_everything_works_again(plane: Callable[..., Any], seed: int) -> None:
    storm = Storm(plane, seed)
    storm.plane.create("storageclasses", {"metadata": {"name": "local"}, "provisioner": "kubekka.dev/local"})
    for _ in range(8):
        storm.break_something()
        for _ in range(5):
            storm.step()
            storm.plane.sim.advance(0.3)
        storm.heal()
    storm.plane.sim.advance(180.0)
    storm.check()
