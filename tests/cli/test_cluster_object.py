"""`Cluster`, as a test embeds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import Cluster, ClusterConfig, ManifestError, WaitTimeout
from protocol.api import StatusError
from protocol.objects import Object


def configmap(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}}


def test_many_clusters_side_by_side_do_not_see_each_other() -> None:
    clusters = [Cluster(nodes=1).start() for _ in range(4)]
    try:
        for number, cluster in enumerate(clusters):
            cluster.apply(configmap(f"only-{number}"))
        for number, cluster in enumerate(clusters):
            names = {c["metadata"]["name"] for c in cluster.client.list("configmaps", "default")}
            assert f"only-{number}" in names
            assert not {f"only-{n}" for n in range(4) if n != number} & names
        assert len({cluster.url for cluster in clusters}) == 4
    finally:
        for cluster in clusters:
            cluster.stop()


def test_apply_wait_and_list_in_a_with_block() -> None:
    with Cluster(nodes=2) as cluster:
        cluster.apply(
            """
            apiVersion: apps/v1
            kind: Deployment
            metadata: {name: web}
            spec:
              replicas: 2
              selector: {matchLabels: {app: web}}
              template:
                metadata: {labels: {app: web}}
                spec: {containers: [{name: c, image: nginx}]}
            """
        )
        web = cluster.wait("deployments/web", "Available")
        assert web["spec"]["replicas"] == 2
        pods = cluster.wait("pods", lambda pods: len(pods) == 2 and all(p["status"].get("podIP") for p in pods))
        assert {p["spec"]["nodeName"] for p in pods} == {"node-0", "node-1"}
        cluster.client.delete("deployments", "web", "default")
        cluster.wait("pods", "deleted")
        folder = cluster.kubeconfig.parent
        assert cluster.kubeconfig.is_file()
    assert not folder.exists()


def test_a_cluster_in_memory_fills_token_secrets_too() -> None:
    with Cluster(nodes=0) as cluster:
        notes = {"kubernetes.io/service-account.name": "default"}
        secret = {"metadata": {"name": "t", "annotations": notes}, "type": "kubernetes.io/service-account-token"}
        cluster.client.create("secrets", secret, "default")
        (filled,) = cluster.wait("secrets", lambda secrets: all((s.get("data") or {}).get("token") for s in secrets))
        assert set(filled["data"]) == {"ca.crt", "namespace", "token"}


def test_a_stopped_cluster_leaves_no_threads_behind() -> None:
    import threading

    before = threading.active_count()
    for _ in range(3):
        with Cluster(nodes=1):
            pass
    assert threading.active_count() == before


def test_waiting_in_vain_says_what_was_seen_last() -> None:
    with Cluster(nodes=0) as cluster, pytest.raises(WaitTimeout, match="default"):
        cluster.wait("namespaces/default", lambda _: False, namespace="", timeout_s=0.2)


def test_a_condition_that_raises_reaches_the_waiter() -> None:
    with Cluster(nodes=0) as cluster, pytest.raises(KeyError):
        cluster.wait("namespaces/default", lambda n: n["nonsense"], namespace="")


@pytest.mark.parametrize(
    ("manifest", "text"),
    [
        ("a: [1\nb", "manifest: "),
        ("just text", "document 1"),
        ("kind: Pod", "document 1"),
        ("apiVersion: v1\nkind: Nonsense\nmetadata: {name: x}", 'no matches for kind "Nonsense"'),
    ],
)
def test_a_broken_manifest_is_named(manifest: str, text: str) -> None:
    with Cluster(nodes=0) as cluster, pytest.raises(ManifestError, match=text):
        cluster.apply(manifest)


def test_a_refusal_carries_kubernetes_status() -> None:
    with Cluster(nodes=0) as cluster:
        with pytest.raises(StatusError) as refused:
            cluster.client.get("pods", "nobody", "default")
        assert refused.value.code == 404
        assert refused.value.message == 'pods "nobody" not found'


def test_a_folder_of_files_is_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-a}\n")
    (tmp_path / "b.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "from-b"}}')
    (tmp_path / "notes.txt").write_text("not: applied")
    with Cluster(nodes=0) as cluster:
        assert [o["metadata"]["name"] for o in cluster.apply(tmp_path)] == ["from-a", "from-b"]


def test_a_config_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.20"):
        ClusterConfig(minor=20)
    with pytest.raises(ValueError, match="nodes"):
        ClusterConfig(nodes=-1)
    with pytest.raises(RuntimeError, match="not running"):
        Cluster().system  # noqa: B018
