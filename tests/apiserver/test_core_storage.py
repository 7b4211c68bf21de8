"""What survives: a crash of the API server, of etcd, a lost watch; two servers on one etcd."""

from __future__ import annotations

from typing import Any

from actors.apiserver import ApiServer, ApiServerConfig
from actors.apiserver._bootstrap_flow import flow_objects
from actors.apiserver._bootstrap_roles import role_objects
from actors.etcd import Etcd
from actors.kernel import Child
from protocol.api import ApiRequest, Resource, StatusError

CONFIG_MAPS = Resource("", "v1", "configmaps")


def test_a_crashed_api_server_comes_back_with_everything(api: Any) -> None:
    made = api.config_map("a", data={"k": "v"})
    api.sim.crash(api.server)
    api.sim.advance(5)
    assert api.get("configmaps", "default", "a") == made
    assert api.config_map("b")


def test_versions_go_on_after_a_crash(api: Any) -> None:
    before = int(api.config_map("a")["metadata"]["resourceVersion"])
    api.sim.crash(api.server)
    api.sim.advance(5)
    assert int(api.config_map("b")["metadata"]["resourceVersion"]) > before


def test_an_etcd_that_lost_everything_is_read_anew(api: Any) -> None:
    api.config_map("a")
    watcher = api.watch("configmaps", "default")
    api.sim.crash(api.etcd)
    api.sim.advance(1)
    for _ in range(10):
        try:
            api.config_map("b")
            break
        except StatusError:
            api.sim.advance(1)
    api.sim.advance(5)
    assert "b" in api.names("configmaps", "default")
    assert watcher.closed


def test_an_idle_server_notices_that_etcd_began_anew(api: Any) -> None:
    api.config_map("a")
    watcher = api.watch("configmaps", "default")
    api.sim.crash(api.etcd)
    api.sim.advance(20)
    assert watcher.closed
    assert api.names("configmaps", "default") == []
    assert "kube-system" in api.names("namespaces")


def test_two_servers_on_one_etcd_read_each_others_writes(sim: Any, make_api: Any) -> None:
    one = make_api(exclusive=False)
    one.config_map("seed")
    config = ApiServerConfig(exclusive=False, debug=True)
    other = sim.spawn(Child("apiserver-2", lambda: ApiServer(config, one.etcd)))
    for number in range(20):
        one.config_map(f"a{number}")
        found = sim.ask(other, ApiRequest("get", CONFIG_MAPS, "default", f"a{number}"))
        changed = {**found, "data": {"n": str(number)}}
        sim.ask(other, ApiRequest("update", CONFIG_MAPS, "default", f"a{number}", body=changed))
        assert one.get("configmaps", "default", f"a{number}")["data"] == {"n": str(number)}


def test_of_two_servers_only_one_wins_a_name(sim: Any, make_api: Any) -> None:
    one = make_api(exclusive=False)
    one.config_map("seed")
    other = sim.spawn(Child("apiserver-2", lambda: ApiServer(ApiServerConfig(exclusive=False, debug=True), one.etcd)))
    sim.ask(other, ApiRequest("list", CONFIG_MAPS))
    body = {"metadata": {"name": "same"}}
    futures = [ref.ask(ApiRequest("create", CONFIG_MAPS, "default", body=body), block=False) for ref in (one.server, other)]
    sim.run(until=lambda: all(f.done for f in futures), timeout_s=10)
    assert sorted(f.exception() is None for f in futures) == [False, True]


def test_events_expire(make_api: Any) -> None:
    api = make_api(event_ttl=100)
    api.create("events", "default", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}})
    api.config_map("a")
    api.sim.advance(50)
    assert api.names("events", "default") == ["e"]
    api.sim.advance(200)
    assert api.names("events", "default") == []
    assert api.names("configmaps", "default", fieldSelector="metadata.name=a") == ["a"]


def test_history_is_compacted_and_recent_versions_stay(make_api: Any) -> None:
    api = make_api(compaction_period=10.0)
    old = api.config_map("a")["metadata"]["resourceVersion"]
    api.config_map("a2")
    api.sim.advance(10.5)
    recent = api.config_map("b")["metadata"]["resourceVersion"]
    api.sim.advance(10)
    exact = {"resourceVersionMatch": "Exact"}
    assert "b" in api.names("configmaps", "default", resourceVersion=recent, **exact)
    try:
        api.names("configmaps", "default", resourceVersion=old, **exact)
        raise AssertionError("the old version is still there")
    except StatusError as error:
        assert error.code == 410


def test_every_cluster_begins_with_its_own_objects(api: Any) -> None:
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= set(api.names("namespaces"))
    assert api.get("services", "default", "kubernetes")["spec"]["clusterIP"] == "10.96.0.1"
    roles = {o["metadata"]["name"] for o in role_objects() if o["kind"] == "ClusterRole"}
    assert roles == set(api.names("clusterroles.rbac.authorization.k8s.io"))
    schemas = {o["metadata"]["name"] for o in flow_objects("") if o["kind"] == "FlowSchema"}
    assert schemas == set(api.names("flowschemas.flowcontrol.apiserver.k8s.io"))


def test_what_a_node_s_role_allows_depends_on_the_version_and_is_never_to_delete_a_node() -> None:
    def rules(minor: int) -> set[tuple[str, str]]:
        (role,) = (o for o in role_objects(minor) if o["kind"] == "ClusterRole" and o["metadata"]["name"] == "system:node")
        return {(verb, kind) for rule in role["rules"] for verb in rule["verbs"] for kind in rule["resources"]}

    assert rules(36) - rules(33) == {("get", "resourceclaims"), ("deletecollection", "resourceslices")}
    assert ("patch", "nodes") in rules(36)
    assert ("delete", "nodes") not in rules(36)


def test_what_an_administrator_changed_stays_changed(api: Any) -> None:
    role = "clusterroles.rbac.authorization.k8s.io"
    api.merge(role, "", "system:discovery", {"rules": []})
    api.sim.crash(api.server)
    api.sim.advance(5)
    assert not api.get(role, "", "system:discovery").get("rules")


def test_an_etcd_that_is_away_is_waited_for(sim: Any) -> None:
    etcd = sim.spawn(Child("etcd", Etcd))
    sim.crash(etcd, restart_after_s=30.0)
    server = sim.spawn(Child("apiserver", lambda: ApiServer(ApiServerConfig(debug=True), etcd)))
    namespaces = sim.ask(server, ApiRequest("list", Resource("", "v1", "namespaces")), timeout=60)
    assert "kube-system" in [item["metadata"]["name"] for item in namespaces["items"]]
