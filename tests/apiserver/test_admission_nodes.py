"""NodeRestriction: what a kubelet may write, and in which words the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.api import UserInfo

Object = dict[str, Any]
NODE = UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))
REFUSED = 'pods "p" is forbidden: '


@pytest.fixture
def home(api: Any) -> Any:
    api.create("serviceaccounts", "default", {"metadata": {"name": "default"}})
    api.create("nodes", "", {"metadata": {"name": "n1"}})
    return api


def mirror(api: Any, owner: Object | None = None, **spec: Any) -> Object:
    uid = api.get("nodes", "", "n1")["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": True, **(owner or {})}
    meta = {"name": "p", "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [reference]}
    return {"metadata": meta, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], **spec}}


def test_a_node_shows_its_static_pods(home: Any) -> None:
    assert home.create("pods", "default", mirror(home), user=NODE)["spec"]["nodeName"] == "n1"


@pytest.mark.parametrize(
    ("owner", "spec", "words"),
    [
        ({"name": "n2"}, {}, 'node "n1" can only create pods with an owner reference set to itself'),
        ({"controller": False}, {}, 'node "n1" can only create pods with a controller owner reference set to itself'),
        ({"blockOwnerDeletion": True}, {}, 'node "n1" must not set blockOwnerDeletion on an owner reference'),
        ({}, {"nodeName": "n2"}, 'node "n1" can only create pods with spec.nodeName set to itself'),
        (
            {},
            {"volumes": [{"name": "v", "projected": {"sources": [{"configMap": {"name": "m"}}]}}]},
            'node "n1" can not create pods that reference configmaps',
        ),
        (
            {},
            {"containers": [{"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]},
            'node "n1" can not create pods that reference secrets',
        ),
    ],
)
def test_a_node_shows_nothing_else(home: Any, refused: Any, owner: Object, spec: Object, words: str) -> None:
    error = refused(home.create, "pods", "default", mirror(home, owner, **spec), user=NODE)
    assert (error.code, error.message) == (403, REFUSED + words)


def test_a_node_reports_on_its_own_pods_but_does_not_relabel_them(home: Any, refused: Any) -> None:
    for name, node in (("p", "n1"), ("other", "n2")):
        pod = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}}
        home.create("pods", "default", pod)
    report = {"status": {"phase": "Running"}}
    assert home.merge("pods", "default", "p", report, sub="status", user=NODE)["status"]["phase"] == "Running"
    relabel = {"metadata": {"labels": {"a": "b"}}}
    error = refused(home.merge, "pods", "default", "p", relabel, sub="status", user=NODE)
    assert error.message == REFUSED + 'node "n1" cannot update labels through pod status'
    error = refused(home.merge, "pods", "default", "other", report, sub="status", user=NODE)
    assert error.message.endswith('node "n1" can only update pod status for pods with spec.nodeName set to itself')
