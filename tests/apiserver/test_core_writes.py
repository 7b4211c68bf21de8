"""create, update, patch and delete: concurrency, identity, generated names, finalizers, dry runs."""

from __future__ import annotations

from typing import Any

from protocol.api import StatusError


def test_a_new_object_gets_identity_and_version(api: Any) -> None:
    made = api.config_map("a", data={"k": "v"})
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert api.get("configmaps", "default", "a") == made


def test_a_name_is_taken_once(api: Any, refused: Any) -> None:
    api.config_map("a")
    assert refused(api.config_map, "a").message == 'configmaps "a" already exists'


def test_an_update_from_an_old_version_conflicts_and_changes_nothing(api: Any, refused: Any) -> None:
    old = api.config_map("a", data={"n": "1"})
    api.merge("configmaps", "default", "a", {"data": {"n": "2"}})
    error = refused(api.ask, "update", "configmaps", "default", "a", body={**old, "data": {"n": "3"}})
    assert (error.code, error.reason) == (409, "Conflict")
    assert api.get("configmaps", "default", "a")["data"] == {"n": "2"}


def test_an_update_without_a_version_replaces_what_is_there(api: Any) -> None:
    api.config_map("a", data={"n": "1"})
    api.ask("update", "configmaps", "default", "a", body={"metadata": {"name": "a"}, "data": {"n": "2"}})
    assert api.get("configmaps", "default", "a")["data"] == {"n": "2"}


def test_a_write_that_changes_nothing_keeps_the_version(api: Any) -> None:
    made = api.config_map("a", data={"n": "1"})
    assert api.merge("configmaps", "default", "a", {"data": {"n": "1"}}) == made
    assert api.ask("update", "configmaps", "default", "a", body=made) == made


def test_generated_names_are_tried_until_one_is_free(api: Any) -> None:
    names = {api.create("configmaps", "default", {"metadata": {"generateName": "g-"}})["metadata"]["name"] for _ in range(50)}
    assert len(names) == 50
    assert all(name.startswith("g-") and len(name) == 7 for name in names)


def test_a_dry_run_answers_but_stores_nothing(api: Any, refused: Any) -> None:
    made = api.create("configmaps", "default", {"metadata": {"name": "dry"}}, dryRun="All")
    assert "resourceVersion" not in made["metadata"]
    assert refused(api.get, "configmaps", "default", "dry").code == 404


def test_an_object_with_finalizers_waits_for_the_last(api: Any, refused: Any) -> None:
    api.create("configmaps", "default", {"metadata": {"name": "a", "finalizers": ["x.io/1", "x.io/2"]}})
    marked = api.ask("delete", "configmaps", "default", "a")
    assert marked["metadata"]["deletionTimestamp"]
    api.merge("configmaps", "default", "a", {"metadata": {"finalizers": ["x.io/2"]}})
    assert api.get("configmaps", "default", "a")["metadata"]["finalizers"] == ["x.io/2"]
    api.merge("configmaps", "default", "a", {"metadata": {"finalizers": []}})
    assert refused(api.get, "configmaps", "default", "a").code == 404


def test_a_deletion_with_a_wrong_precondition_is_refused(api: Any, refused: Any) -> None:
    api.config_map("a")
    error = refused(api.ask, "delete", "configmaps", "default", "a", body={"preconditions": {"uid": "other"}})
    assert error.code == 409
    assert error.message.startswith('Operation cannot be fulfilled on ConfigMap "a"')
    assert api.get("configmaps", "default", "a")


def test_propagation_policies_become_finalizers(api: Any) -> None:
    for name, policy, finalizer in (("o", "Orphan", "orphan"), ("f", "Foreground", "foregroundDeletion")):
        api.config_map(name)
        api.ask("delete", "configmaps", "default", name, body={"propagationPolicy": policy})
        assert api.get("configmaps", "default", name)["metadata"]["finalizers"] == [finalizer]


def test_a_bare_null_as_a_deletions_body_asks_for_nothing(api: Any, refused: Any) -> None:
    api.config_map("a")
    api.ask("delete", "configmaps", "default", "a", body=b"null")
    assert refused(api.get, "configmaps", "default", "a").code == 404


def test_a_collection_is_deleted_by_selector(api: Any) -> None:
    for name, color in (("a", "red"), ("b", "blue"), ("c", "red")):
        api.config_map(name, labels={"color": color})
    gone = api.ask("deletecollection", "configmaps", "default", labelSelector="color=red")
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a", "c"]
    assert api.names("configmaps", "default") == ["b"]


def pod(api: Any, name: str, node: str = "n1", **spec: Any) -> Any:
    if "default" not in api.names("serviceaccounts", "default"):
        api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    if node:
        body["spec"]["nodeName"] = node
    return api.create("pods", "default", body)


def test_a_running_pod_is_marked_and_a_shorter_grace_wins(api: Any, refused: Any) -> None:
    pod(api, "p", terminationGracePeriodSeconds=30)
    assert api.ask("delete", "pods", "default", "p")["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.ask("delete", "pods", "default", "p", body={"gracePeriodSeconds": 60})["metadata"]["deletionGracePeriodSeconds"] == 30
    assert api.ask("delete", "pods", "default", "p", body={"gracePeriodSeconds": 5})["metadata"]["deletionGracePeriodSeconds"] == 5
    api.ask("delete", "pods", "default", "p", body={"gracePeriodSeconds": 0})
    assert refused(api.get, "pods", "default", "p").code == 404


def test_a_pod_without_a_node_goes_at_once(api: Any, refused: Any) -> None:
    pod(api, "p", node="")
    api.ask("delete", "pods", "default", "p")
    assert refused(api.get, "pods", "default", "p").code == 404


def test_a_pod_is_bound_once(api: Any, refused: Any) -> None:
    pod(api, "p", node="")
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    api.ask("create", "pods", "default", "p", body=binding, sub="binding")
    found = api.get("pods", "default", "p")
    assert found["spec"]["nodeName"] == "n1"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    error = refused(api.ask, "create", "pods", "default", "p", body=binding, sub="binding")
    assert error.message == 'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'


def test_a_budget_without_disruptions_stops_an_eviction(api: Any, refused: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    body = {"metadata": {"name": "p", "labels": {"app": "a"}}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
    api.create("pods", "default", body)
    ready = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
    api.merge("pods", "default", "p", ready, sub="status")
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}}
    api.create("poddisruptionbudgets.policy", "default", budget)
    state = {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}
    api.merge("poddisruptionbudgets.policy", "default", "b", {"status": state}, sub="status")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    error = refused(api.ask, "create", "pods", "default", "p", body=eviction, sub="eviction")
    assert error.code == 429
    api.merge("poddisruptionbudgets.policy", "default", "b", {"status": {"disruptionsAllowed": 1}}, sub="status")
    api.ask("create", "pods", "default", "p", body=eviction, sub="eviction")
    assert api.get("pods", "default", "p")["metadata"]["deletionTimestamp"]
    left = api.get("poddisruptionbudgets.policy", "default", "b")["status"]
    assert left["disruptionsAllowed"] == 0
    assert "p" in left["disruptedPods"]
    gone = api.get("pods", "default", "p")
    said = gone["status"]["conditions"][-1]
    assert (said["type"], said["status"], said["reason"]) == ("DisruptionTarget", "True", "EvictionByEvictionAPI")
    assert said["message"] == "Eviction API: evicting"
    assert not any("DisruptionTarget" in str(owned["fieldsV1"]) for owned in gone["metadata"]["managedFields"])


def test_an_eviction_of_another_pod_of_that_name_says_nothing_and_deletes_nothing(api: Any, refused: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    pod = {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}}
    api.create("pods", "default", pod)
    options = {"preconditions": {"uid": "another"}}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions": options}
    assert refused(api.ask, "create", "pods", "default", "p", body=eviction, sub="eviction").code == 409
    left = api.get("pods", "default", "p")
    assert "deletionTimestamp" not in left["metadata"]
    assert not left["status"].get("conditions")


def test_scale_changes_the_count_and_nothing_else(api: Any) -> None:
    spec = {
        "selector": {"matchLabels": {"a": "b"}}, "replicas": 2,
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    }
    api.create("deployments.apps", "default", {"metadata": {"name": "d"}, "spec": spec})
    found = api.get("deployments.apps", "default", "d", sub="scale")
    assert (found["spec"], found["status"]["selector"]) == ({"replicas": 2}, "a=b")
    api.ask("update", "deployments.apps", "default", "d", body={**found, "spec": {"replicas": 5}}, sub="scale")
    after = api.get("deployments.apps", "default", "d")
    assert after["spec"]["replicas"] == 5
    assert after["metadata"]["generation"] == 2


def test_nothing_new_appears_in_a_namespace_that_is_going(api: Any, refused: Any) -> None:
    api.create("namespaces", "", {"metadata": {"name": "n"}})
    api.ask("delete", "namespaces", "", "n")
    assert api.get("namespaces", "", "n")["status"]["phase"] == "Terminating"
    error = refused(api.config_map, "a", "n")
    assert error.code == 403
    assert "because it is being terminated" in error.message
    empty = {**api.get("namespaces", "", "n"), "spec": {}}
    api.ask("update", "namespaces", "", "n", body=empty, sub="finalize")
    assert refused(api.get, "namespaces", "", "n").code == 404


def test_both_event_apis_see_one_event(api: Any) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"}, "message": "M", "type": "Normal"}
    api.create("events", "default", event)
    new = api.get("events.events.k8s.io", "default", "e")
    assert (new["apiVersion"], new["note"], new["regarding"]["name"]) == ("events.k8s.io/v1", "M", "p")


def test_cluster_addresses_and_node_ports_are_never_given_twice(api: Any, refused: Any) -> None:
    addresses, ports = set(), set()
    for number in range(20):
        made = api.create(
            "services", "default",
            {"metadata": {"name": f"s{number}"}, "spec": {"type": "NodePort", "ports": [{"port": 80}], "selector": {"a": "b"}}},
        )
        addresses.add(made["spec"]["clusterIP"])
        ports.add(made["spec"]["ports"][0]["nodePort"])
    assert len(addresses) == len(ports) == 20
    taken = {"metadata": {"name": "t"}, "spec": {"clusterIP": next(iter(sorted(addresses))), "ports": [{"port": 80}]}}
    assert "provided IP is already allocated" in refused(api.create, "services", "default", taken).message


def test_a_freed_address_can_be_had_again(api: Any) -> None:
    made = api.create("services", "default", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    address = made["spec"]["clusterIP"]
    api.ask("delete", "services", "default", "s")
    again = api.create("services", "default", {"metadata": {"name": "t"}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}})
    assert again["spec"]["clusterIP"] == address


def test_a_refused_service_reserves_nothing(api: Any, refused: Any) -> None:
    bad = {"metadata": {"name": "UPPER"}, "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}}
    refused(api.create, "services", "default", bad)
    good = {"metadata": {"name": "ok"}, "spec": {"clusterIP": "10.96.7.7", "ports": [{"port": 80}]}}
    assert api.create("services", "default", good)["spec"]["clusterIP"] == "10.96.7.7"


def test_twins_of_a_valid_pod_are_valid_and_one_with_a_bad_name_is_not(api: Any, refused: Any) -> None:
    for number in range(3):
        made = pod(api, f"twin-{number}")
        assert made["metadata"]["managedFields"][0]["manager"] == "test"
    assert refused(pod, api, "Twin").code == 422


def test_every_write_of_concurrent_writers_is_kept(api: Any) -> None:
    api.config_map("counter", data={"n": "0"})
    for _ in range(20):
        while True:
            found = api.get("configmaps", "default", "counter")
            try:
                api.ask("update", "configmaps", "default", "counter",
                        body={**found, "data": {"n": str(int(found["data"]["n"]) + 1)}})
                break
            except StatusError as error:
                assert error.reason == "Conflict"
    assert api.get("configmaps", "default", "counter")["data"]["n"] == "20"


def test_the_addresses_of_services_are_objects_that_come_and_go_with_them(api: Any) -> None:
    made = api.create("services", "default", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    address = made["spec"]["clusterIP"]
    api.settle()
    found = api.get("ipaddresses.networking.k8s.io", "", address)
    assert found["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "s"}
    api.ask("delete", "services", "default", "s")
    api.settle()
    assert api.names("ipaddresses.networking.k8s.io") == ["10.96.0.1"]


def test_a_further_range_is_used_when_the_first_is_full(make_api: Any, refused: Any) -> None:
    api = make_api(service_cidrs=("10.9.0.0/30",))
    spec = {"ports": [{"port": 80}]}
    api.create("services", "default", {"metadata": {"name": "a"}, "spec": spec})
    assert "range is full" in refused(api.create, "services", "default", {"metadata": {"name": "b"}, "spec": spec}).message
    more = {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.8.0.0/24"]}}
    api.create("servicecidrs.networking.k8s.io", "", more)
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "", "message": ""}
    api.merge("servicecidrs.networking.k8s.io", "", "more", {"status": {"conditions": [ready]}}, sub="status")
    made = api.create("services", "default", {"metadata": {"name": "b"}, "spec": spec})
    assert made["spec"]["clusterIP"].startswith("10.8.0.")
