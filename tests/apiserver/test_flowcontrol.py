"""Priority and fairness: matching, seats, queues, and what clients hear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors.apiserver._authz import Attributes
from actors.apiserver.flowcontrol._levels import Level, adjust, share_out
from actors.apiserver.flowcontrol._match import matches
from actors.apiserver.flowcontrol._queues import Queues, hand_of
from actors.apiserver.flowcontrol._retry import RetryAfter
from protocol.api import UserInfo
from protocol.http import HttpCall

JANE = UserInfo("jane", ("devs", "system:authenticated"))
FLOW = "flowcontrol.apiserver.k8s.io"
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}


def schema(subject: Any, resources: Any = EVERYTHING, level: str = "narrow", precedence: int = 50) -> Any:
    return {
        "metadata": {"name": f"to-{level}"},
        "spec": {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level},
                 "distinguisherMethod": {"type": "ByUser"},
                 "rules": [{"subjects": [subject], "resourceRules": [resources]}]},
    }  # fmt: skip


def user(name: str) -> Any:
    return {"kind": "User", "user": {"name": name}}


def level(name: str, response: Any, shares: int = 30, **more: Any) -> Any:
    limited = {"nominalConcurrencyShares": shares, "limitResponse": response, **more}
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}


@pytest.mark.parametrize(
    ("subject", "matched"),
    [
        (user("jane"), True),
        (user("*"), True),
        (user("joe"), False),
        ({"kind": "Group", "group": {"name": "devs"}}, True),
        ({"kind": "Group", "group": {"name": "ops"}}, False),
        ({"kind": "ServiceAccount", "serviceAccount": {"namespace": "a", "name": "*"}}, False),
    ],
)
def test_a_schema_is_for_its_subjects(subject: Any, matched: bool) -> None:
    assert matches(schema(subject), JANE, Attributes("get", "", "pods", "", "default", "x")) is matched


def test_a_rule_without_cluster_scope_is_for_namespaces_only() -> None:
    narrow = schema(user("jane"), {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["a"]})
    assert matches(narrow, JANE, Attributes("get", "", "pods", "", "a"))
    assert not matches(narrow, JANE, Attributes("get", "", "pods", "", "b"))
    assert not matches(narrow, JANE, Attributes("get", "", "pods"))
    assert not matches(narrow, JANE, Attributes("get", "", "pods", "status", "a"))
    assert not matches(narrow, JANE, Attributes("get", path="/version"))


def test_a_flow_is_always_dealt_the_same_different_queues() -> None:
    hands = [hand_of(f"flow-{i}", 64, 6) for i in range(50)]
    assert all(len(set(hand)) == 6 and max(hand) < 64 for hand in hands)
    assert hands == [hand_of(f"flow-{i}", 64, 6) for i in range(50)]
    assert len({tuple(sorted(hand)) for hand in hands}) > 45


def test_a_flow_that_floods_delays_no_other() -> None:
    queues = Queues(64, 6, 50)
    for _ in range(100):
        queues.add("flood", "flood", None, 1, 0.0)
    queues.add("meek", "meek", None, 1, 0.0)
    served = []
    for _ in range(14):
        one = queues.next()
        assert one is not None
        queues.take(one)
        served.append(one.flow)
    assert "meek" in served


def test_a_full_hand_takes_no_more() -> None:
    queues = Queues(8, 2, 3)
    assert [queues.add("f", "f", None, 1, 0.0) is not None for _ in range(7)] == [True] * 6 + [False]


def test_seats_are_shared_by_shares_and_rounded_up() -> None:
    levels = [level("a", {"type": "Reject"}, 30), level("b", {"type": "Reject"}, 100),
              {"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}}]  # fmt: skip
    assert share_out(levels, 600) == {"a": 139, "b": 462, "exempt": 0}


def test_a_busy_level_borrows_what_another_lends() -> None:
    busy, idle, proud = Level("busy"), Level("idle"), Level("proud")
    busy.configure(level("busy", {"type": "Reject"}), 100, 300)
    idle.configure(level("idle", {"type": "Reject"}, lendablePercent=50), 100, 300)
    proud.configure(level("proud", {"type": "Reject"}, lendablePercent=50, borrowingLimitPercent=0), 100, 300)
    busy.peak = 250
    for _ in range(3):
        busy.peak = 250
        adjust([busy, idle, proud], 300)
    assert busy.limit > 150
    assert idle.limit >= 50
    assert proud.limit >= 50
    assert busy.limit + idle.limit + proud.limit <= 302
    for _ in range(3):
        proud.peak = 250
        adjust([busy, idle, proud], 300)
    assert proud.limit <= 100


def test_the_more_are_sent_away_the_longer_they_shall_wait() -> None:
    retry = RetryAfter()
    told = [retry.dropped("a", second) for second in range(100, 110) for _ in range(100)]
    assert told[0] == 1
    assert told == sorted(told)
    assert told[-1] >= 4
    assert retry.dropped("b", 110) == 1
    calm = [retry.dropped("a", 200 + 40 * i) for i in range(10)]
    assert calm[-1] < told[-1]


# --- the whole server -------------------------------------------------------------------------


@pytest.fixture
def guarded(make_api: Callable[..., Any]) -> Any:
    tokens = {name: UserInfo(name) for name in ("jane", "joe")}
    return make_api(tokens=tokens, authorization="AlwaysAllow", max_requests_inflight=1, max_mutating_requests_inflight=0)


def send(api: Any, name: str, who: str = "jane", method: str = "POST", path: str = "/api/v1/namespaces/default/configmaps") -> Any:
    body = b'{"metadata":{"name":"%s"}}' % name.encode() if method == "POST" else b""
    call = HttpCall(method, path, "", {"authorization": f"Bearer {who}", "content-type": "application/json"}, body)
    return api.server.ask(call, block=False)


def configure(api: Any, response: Any) -> None:
    api.create(f"prioritylevelconfigurations.{FLOW}", "", level("narrow", response, 1))
    api.create(f"flowschemas.{FLOW}", "", schema(user("jane")))


def done(api: Any, *futures: Any) -> list[Any]:
    return [api.sim.wait_for(future) for future in futures]


def test_answers_say_whose_flow_it_was(guarded: Any) -> None:
    configure(guarded, {"type": "Reject"})
    (reply,) = done(guarded, send(guarded, "a"))
    flow = guarded.get(f"flowschemas.{FLOW}", "", "to-narrow")["metadata"]["uid"]
    narrow = guarded.get(f"prioritylevelconfigurations.{FLOW}", "", "narrow")["metadata"]["uid"]
    assert reply.status == 201
    assert reply.flow.decode().partition("\r\n")[2] == (
        f"X-Kubernetes-Pf-Flowschema-Uid: {flow}\r\nX-Kubernetes-Pf-Prioritylevel-Uid: {narrow}\r\n"
    )


def test_where_nothing_queues_the_second_request_is_sent_away(guarded: Any) -> None:
    configure(guarded, {"type": "Reject"})
    replies = done(guarded, send(guarded, "a"), send(guarded, "b"), send(guarded, "c", "joe"))
    assert [reply.status for reply in replies] == [201, 429, 201]
    assert replies[1].body == b"Too many requests, please try again later.\n"
    assert replies[1].content_type == "text/plain; charset=utf-8"
    assert dict(replies[1].headers)["Retry-After"] == "1"
    assert replies[1].flow


def test_requests_queue_for_a_seat_until_the_queue_is_full(guarded: Any) -> None:
    configure(guarded, {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}})
    replies = done(guarded, *(send(guarded, name) for name in "abcd"))
    assert [reply.status for reply in replies] == [201, 201, 201, 429]
    (page,) = done(guarded, send(guarded, "", "joe", "GET", "/metrics"))
    text = page.body.decode()
    labels = 'flow_schema="to-narrow",priority_level="narrow"'
    assert f"apiserver_flowcontrol_dispatched_requests_total{{{labels}}} 3" in text
    assert f'apiserver_flowcontrol_rejected_requests_total{{{labels},reason="queue-full"}} 1' in text
    assert f"apiserver_flowcontrol_current_executing_requests{{{labels}}} 0" in text
    assert 'apiserver_flowcontrol_nominal_limit_seats{priority_level="narrow"} 1' in text


def test_who_waits_too_long_for_a_seat_is_sent_away(guarded: Any) -> None:
    configure(guarded, {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 5}})
    guarded.sim.pause(guarded.etcd)
    first, second = send(guarded, "a"), send(guarded, "b")
    guarded.sim.advance(16)
    assert second.result().status == 429
    guarded.sim.resume(guarded.etcd)
    third = send(guarded, "c")
    assert done(guarded, first)[0].status in (201, 504)
    assert done(guarded, third)[0].status == 201


def test_the_default_objects_come_back(guarded: Any) -> None:
    done(guarded, send(guarded, "a"))
    guarded.ask("delete", f"flowschemas.{FLOW}", "", "catch-all")
    guarded.ask("delete", f"prioritylevelconfigurations.{FLOW}", "", "workload-low")
    changed = dict(guarded.get(f"prioritylevelconfigurations.{FLOW}", "", "system"))
    changed["spec"] = {"type": "Limited", "limited": {**changed["spec"]["limited"], "nominalConcurrencyShares": 77}}
    guarded.ask("update", f"prioritylevelconfigurations.{FLOW}", "", "system", body=changed)
    guarded.sim.advance(11)
    assert guarded.get(f"flowschemas.{FLOW}", "", "catch-all")["spec"]["matchingPrecedence"] == 10000
    assert guarded.get(f"prioritylevelconfigurations.{FLOW}", "", "workload-low")
    mended = guarded.get(f"prioritylevelconfigurations.{FLOW}", "", "system")
    assert mended["spec"]["limited"]["nominalConcurrencyShares"] == 30
    guarded.create(f"flowschemas.{FLOW}", "", schema(user("x"), level="nowhere"))
    guarded.sim.advance(11)
    condition = guarded.get(f"flowschemas.{FLOW}", "", "to-nowhere")["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Dangling", "True", "NotFound")
