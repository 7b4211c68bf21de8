"""get, list and watch: versions, paging, selectors, order, and where a watch may start."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from protocol.etcd import Compact


def fill(api: Any, count: int) -> None:
    for number in range(count):
        api.config_map(f"c{number}", labels={"even": "yes" if number % 2 == 0 else "no"}, data={"n": str(number)})


def test_pages_show_one_snapshot_whatever_happens_between_them(api: Any) -> None:
    fill(api, 5)
    first = api.ask("list", "configmaps", "default", limit="2")
    assert first["metadata"]["remainingItemCount"] == 3
    api.ask("delete", "configmaps", "default", "c3")
    api.config_map("c9")
    token = first["metadata"]["continue"]
    rest = api.ask("list", "configmaps", "default", **{"limit": "10", "continue": token})
    assert [i["metadata"]["name"] for i in rest["items"]] == ["c2", "c3", "c4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


def test_a_compacted_page_is_gone_but_says_how_to_go_on(api: Any, refused: Any) -> None:
    fill(api, 4)
    first = api.ask("list", "configmaps", "default", limit="2")
    api.config_map("later")
    revision = int(api.ask("list", "configmaps", "default")["metadata"]["resourceVersion"])
    api.sim.ask(api.etcd, Compact(revision))
    error = refused(api.ask, "list", "configmaps", "default", **{"continue": first["metadata"]["continue"], "limit": "2"})
    assert (error.code, error.reason) == (410, "Expired")
    rest = api.ask("list", "configmaps", "default", **{"continue": error.status["metadata"]["continue"], "limit": "9"})
    assert [i["metadata"]["name"] for i in rest["items"]] == ["c2", "c3", "later"]


def test_the_exact_past_can_be_listed(api: Any) -> None:
    made = api.config_map("a")
    api.config_map("b")
    version = made["metadata"]["resourceVersion"]
    assert api.names("configmaps", "default", resourceVersion=version, resourceVersionMatch="Exact") == ["a"]


def test_a_version_in_the_future_times_out(api: Any, refused: Any) -> None:
    api.config_map("a")
    error = refused(api.ask, "list", "configmaps", "default", resourceVersion="999999", resourceVersionMatch="Exact")
    assert error.code == 504
    assert error.message.startswith("Timeout: Too large resource version: 999999")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"labelSelector": "even=yes"}, ["c0", "c2"]),
        ({"labelSelector": "even!=yes"}, ["c1", "c3"]),
        ({"labelSelector": "even in (yes,no)"}, ["c0", "c1", "c2", "c3"]),
        ({"labelSelector": "!even"}, []),
        ({"fieldSelector": "metadata.name=c1"}, ["c1"]),
        ({"fieldSelector": "metadata.name!=c1", "labelSelector": "even=no"}, ["c3"]),
        ({"fieldSelector": "metadata.namespace=other"}, []),
    ],
)
def test_selectors_select(api: Any, options: dict[str, str], names: list[str]) -> None:
    fill(api, 4)
    assert api.names("configmaps", "default", **options) == names


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"labelSelector": "a b"}, 400, "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ({"fieldSelector": "spec.x=y"}, 400, '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"'),
        ({"resourceVersionMatch": "Exact"}, 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ({"limit": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"continue": "garbage"}, 400, "invalid continue token: continue key is not valid: "),
        ({"resourceVersion": "-1"}, 400, "invalid resource version"),
    ],
)
def test_options_that_mean_nothing_are_refused_by_name(api: Any, refused: Any, options: dict[str, str], code: int, text: str) -> None:
    error = refused(api.ask, "list", "configmaps", "default", **options)
    assert error.code == code
    assert text in error.message


def test_a_list_is_in_the_order_of_keys_across_namespaces(api: Any) -> None:
    for namespace in ("a", "a-b", "a.b"):
        api.create("namespaces", "", {"metadata": {"name": namespace}}) if "." not in namespace else None
    api.config_map("z", "a")
    api.config_map("a", "a-b")
    found = [(i["metadata"]["namespace"], i["metadata"]["name"]) for i in api.ask("list", "configmaps")["items"] if i["metadata"]["name"] != "kube-root-ca.crt"]
    assert found == [("a-b", "a"), ("a", "z")]  # "-" sorts before "/"


# --- watches ------------------------------------------------------------------------------------


def kinds(watcher: Any) -> list[tuple[str, str]]:
    return [(event, obj["metadata"].get("name", "")) for event, obj in watcher.events]


def test_a_watch_tells_each_change_once_in_order(api: Any) -> None:
    watcher = api.watch("configmaps", "default")
    api.config_map("a")
    api.merge("configmaps", "default", "a", {"data": {"x": "1"}})
    api.merge("configmaps", "default", "a", {"data": {"x": "1"}})
    api.ask("delete", "configmaps", "default", "a")
    api.settle()
    assert kinds(watcher) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    versions = [int(obj["metadata"]["resourceVersion"]) for _, obj in watcher.events]
    assert versions == sorted(set(versions))
    assert watcher.seqs == list(range(len(watcher.seqs)))


def test_a_watch_from_a_version_replays_what_came_after(api: Any) -> None:
    first = api.config_map("a")
    api.config_map("b")
    api.ask("delete", "configmaps", "default", "b")
    watcher = api.watch("configmaps", "default", resourceVersion=first["metadata"]["resourceVersion"])
    assert kinds(watcher) == [("ADDED", "b"), ("DELETED", "b")]


def test_an_object_that_leaves_the_selection_is_deleted_from_it(api: Any) -> None:
    watcher = api.watch("configmaps", "default", labelSelector="color=red")
    api.config_map("a", labels={"color": "blue"})
    api.merge("configmaps", "default", "a", {"metadata": {"labels": {"color": "red"}}})
    api.merge("configmaps", "default", "a", {"data": {"n": "1"}})
    api.merge("configmaps", "default", "a", {"metadata": {"labels": {"color": "green"}}})
    api.ask("delete", "configmaps", "default", "a")
    api.settle()
    assert kinds(watcher) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    assert watcher.events[-1][1]["metadata"]["labels"] == {"color": "red"}


def test_a_streaming_list_ends_with_its_bookmark(api: Any) -> None:
    fill(api, 2)
    watcher = api.watch(
        "configmaps", "default", sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    )
    assert [event for event, _ in watcher.events] == ["ADDED", "ADDED", "BOOKMARK"]
    assert watcher.events[-1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_bookmarks_come_with_time_to_those_who_asked(api: Any) -> None:
    asked = api.watch("configmaps", "default", allowWatchBookmarks="true")
    silent = api.watch("configmaps", "default")
    api.config_map("a")
    api.sim.advance(61)
    assert [event for event, _ in asked.events] == ["ADDED", "BOOKMARK"]
    assert [event for event, _ in silent.events] == ["ADDED"]


def test_a_watch_ends_after_its_time(api: Any) -> None:
    watcher = api.watch("configmaps", "default", timeoutSeconds="5")
    api.sim.advance(4.5)
    assert watcher.closed == []
    api.sim.advance(1)
    assert len(watcher.closed) == 1


def test_a_watch_from_before_the_history_is_told_so(make_api: Callable[..., Any]) -> None:
    api = make_api(history=2)
    old = api.config_map("a")
    for number in range(4):
        api.config_map(f"b{number}")
    watcher = api.watch("configmaps", "default", resourceVersion=old["metadata"]["resourceVersion"])
    assert [event for event, _ in watcher.events] == ["ERROR"]
    assert watcher.events[0][1]["code"] == 410
    assert watcher.closed


def test_a_kubelet_sees_the_pods_of_its_node_come_and_go(api: Any) -> None:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    watcher = api.watch("pods", fieldSelector="spec.nodeName=n1")
    api.create("pods", "default", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    api.settle()
    assert watcher.events == []
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    api.ask("create", "pods", "default", "p", body=binding, sub="binding")
    api.ask("delete", "pods", "default", "p", body={"gracePeriodSeconds": 0})
    api.settle()
    assert kinds(watcher)[0] == ("ADDED", "p")
    assert kinds(watcher)[-1] == ("DELETED", "p")
    assert api.names("pods", fieldSelector="spec.nodeName=n1") == []


@pytest.mark.parametrize("seed", range(5))
def test_a_watcher_that_replays_events_holds_what_a_list_shows(api: Any, seed: int) -> None:
    chance = random.Random(seed)
    watcher = api.watch("configmaps", "default", labelSelector="on=yes")
    for _ in range(40):
        name = f"c{chance.randrange(5)}"
        known = name in api.names("configmaps", "default")
        labels = {"on": chance.choice(["yes", "no"])}
        if not known:
            api.config_map(name, labels=labels)
        elif chance.random() < 0.3:
            api.ask("delete", "configmaps", "default", name)
        else:
            api.merge("configmaps", "default", name, {"metadata": {"labels": labels}, "data": {"n": str(chance.random())}})
    api.settle()
    held: dict[str, Any] = {}
    for event, obj in watcher.events:
        name = obj["metadata"]["name"]
        if event == "DELETED":
            assert name in held
            del held[name]
        else:
            assert (event == "ADDED") == (name not in held)
            held[name] = obj
    listed = {i["metadata"]["name"]: i for i in api.ask("list", "configmaps", "default", labelSelector="on=yes")["items"]}
    assert held == listed


def test_a_watch_cannot_start_before_the_server_did(api: Any) -> None:
    api.config_map("a")
    watcher = api.watch("configmaps", "default", resourceVersion="1")
    assert [event for event, _ in watcher.events] == ["ERROR"]
    assert watcher.events[0][1]["message"].startswith("too old resource version: 1 (")


def test_each_kind_is_selected_by_its_own_fields_only(api: Any, refused: Any) -> None:
    event = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"}, "type": "Normal"}
    api.create("events", "default", event)
    assert api.names("events", "default", fieldSelector="involvedObject.kind=Pod") == ["e"]
    assert api.names("events.events.k8s.io", "default", fieldSelector="regarding.name=p,type!=Warning") == ["e"]
    assert api.names("namespaces", fieldSelector="status.phase=Terminating") == []
    assert api.names("clusterroles.rbac.authorization.k8s.io", fieldSelector="metadata.namespace=x") == []
    texts = [
        refused(api.names, what, fieldSelector="spec.x=y").message
        for what in ("services", "jobs.batch", "deployments.apps", "persistentvolumes")
    ]
    assert texts == [
        "field label not supported: spec.x",
        'field label "spec.x" not supported for batchv1.Job',
        '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
        '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
    ]
