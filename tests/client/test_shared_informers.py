"""What one informer keeps for many readers, also over a crash."""

from __future__ import annotations

from actors.apiserver import ApiServer, ApiServerConfig
from actors.client import Changes, Client, ClientActor, OutsideClient, SharedInformers
from actors.etcd import Etcd, EtcdConfig
from actors.kernel import Child, Ref, Simulation, handles


class Reader(ClientActor):
    """Notes what it is told."""

    def __init__(self, informers: SharedInformers, seen: dict[str, str]) -> None:
        super().__init__()
        self.informers = informers
        self.seen = seen

    def on_start(self) -> None:
        self.informers.of("configmaps").subscribe(self)

    @handles(Changes)
    def changes(self, message: Changes) -> None:
        for old, new in message.changes:
            if new is not None:
                self.seen[new["metadata"]["name"]] = new["metadata"]["resourceVersion"]
            elif old is not None:
                self.seen.pop(old["metadata"]["name"])


class Owner(ClientActor):
    """Has the informers and the reader as children."""

    def __init__(self, apiserver: Ref, seen: dict[str, str]) -> None:
        super().__init__()
        self.informers = SharedInformers(self, lambda actor: Client(actor, apiserver))
        self.seen = seen

    def on_start(self) -> None:
        self.informers.of("configmaps")
        self.spawn(Child("reader", lambda: Reader(self.informers, self.seen)))


def test_what_the_store_has_is_told_though_the_informer_crashes_before_it_could() -> None:
    sim = Simulation(seed=1)
    etcd = sim.spawn(Child("etcd", lambda: Etcd(EtcdConfig())))
    api = sim.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(), etcd)))
    seen: dict[str, str] = {}
    owner = sim.spawn(Child("owner", lambda: Owner(api, seen)))
    client = OutsideClient(sim, api)
    client.create("configmaps", {"metadata": {"name": "a"}}, "default")
    sim.run(until=lambda: "a" in seen)
    store = sim.actors[owner.actor_urn].actor.informers.store("configmaps")
    informer = sim.lookup("owner/informer-configmaps")
    assert informer is not None
    sim.pause(informer)
    client.delete("configmaps", "a", "default")
    sim.resume(informer)
    sim.run(until=lambda: "default/a" not in store)
    assert "a" in seen
    sim.crash(informer, restart_after_s=1.0)
    sim.advance(10.0)
    assert "a" not in seen
