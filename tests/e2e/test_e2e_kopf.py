"""An unmodified kopf operator with a definition of its own, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import Cluster

Object = dict[str, Any]
OPERATOR = Path(__file__).with_name("kopf_operator.py")
DEFINED, SHELVES = "shelves.library.example.com", "shelves.v1.library.example.com"
FINALIZER = "library.example.com/tidy"
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shelves.library.example.com}
spec:
  group: library.example.com
  scope: Namespaced
  names: {kind: Shelf, plural: shelves, singular: shelf, listKind: ShelfList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {books: {type: array, items: {type: string}}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """The operator, from before the first test of this module until after the last."""
    pytest.importorskip("kopf", reason="kopf is not installed")
    pytest.importorskip("kubernetes", reason="the kubernetes client is not installed")
    cluster.apply(DEFINITION)
    cluster.wait(f"crd/{DEFINED}", "Established")
    log = tmp_path_factory.mktemp("kopf") / "log"
    command = [sys.executable, "-m", "kopf", "run", "--all-namespaces", "--standalone", str(OPERATOR)]
    with log.open("wb") as out:
        env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        process = subprocess.Popen(command, env=env, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
        said = log.read_text()
        sys.stdout.write(said[-8000:])  # shown by pytest when a test has failed
    assert "Traceback" not in said


def shelf(cluster: Cluster, name: str, *books: str) -> None:
    cluster.apply(
        f"apiVersion: library.example.com/v1\nkind: Shelf\nmetadata: {{name: {name}}}\n"
        f"spec: {{books: [{', '.join(books)}]}}\n"
    )


@pytest.fixture
def filled(cluster: Cluster, operator: subprocess.Popen[bytes], request: pytest.FixtureRequest) -> str:
    """A shelf that the operator has seen to."""
    name = request.node.name.replace("_", "-").lower()[-30:].strip("-")
    shelf(cluster, name, "a", "b")
    cluster.wait(f"{SHELVES}/{name}", lambda found: "created" in found.get("status", {}), timeout_s=20)
    return name


def test_a_created_object_is_handled_and_its_status_patched(cluster: Cluster, filled: str) -> None:
    found = cluster.wait(f"{SHELVES}/{filled}", lambda found: FINALIZER in found["metadata"].get("finalizers", ()))
    assert found["status"]["created"] == {"books": 2}
    made = cluster.client.get("configmaps", f"{filled}-books", "default")
    assert made["data"] == {"books": "a,b"}
    assert made["metadata"]["ownerReferences"][0]["uid"] == found["metadata"]["uid"]


def test_an_update_is_handled_once_the_field_has_changed(cluster: Cluster, filled: str) -> None:
    shelf(cluster, filled, "a", "b", "c")
    found = cluster.wait(f"{SHELVES}/{filled}", lambda found: found["status"].get("books") == 3, timeout_s=20)
    assert found["metadata"]["generation"] == 2
    assert cluster.client.get("configmaps", f"{filled}-books", "default")["data"] == {"books": "a,b,c"}


def test_a_deletion_waits_for_the_operators_finalizer_and_takes_what_is_owned(cluster: Cluster, filled: str) -> None:
    cluster.client.delete(SHELVES, filled, "default")
    cluster.wait(f"configmaps/{filled}-gone", lambda found: found["data"] == {"why": "sold"}, timeout_s=20)
    cluster.wait(f"{SHELVES}/{filled}", "deleted", timeout_s=20)
    cluster.wait(f"configmaps/{filled}-books", "deleted", timeout_s=20)


def test_events_of_the_operator_are_stored(cluster: Cluster, filled: str) -> None:
    def filled_events(events: list[Object]) -> list[tuple[str, str]]:
        mine = [event for event in events if event["involvedObject"].get("name") == filled]
        return [(event["reason"], event["message"]) for event in mine]

    told = ("Filled", "2 books are on the shelf")  # kopf posts its events when it finds the time
    cluster.wait("events", lambda events: told in filled_events(events), timeout_s=20)


def test_built_in_objects_are_watched_by_label(cluster: Cluster, operator: subprocess.Popen[bytes]) -> None:
    cluster.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: marked, labels: {watched: 'yes'}}\ndata: {a: b}\n")
    found = cluster.wait("configmaps/marked", lambda found: "seen" in found["data"], timeout_s=20)
    assert found["data"] == {"a": "b", "seen": "yes"}
