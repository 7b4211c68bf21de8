"""Unmodified clients: lightkube and kr8s against an API server alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster import ApiServerProcess

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1", "kind": "Deployment",
    "metadata": {"name": "d", "namespace": "default"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    },
}


@pytest.fixture
def kubeconfig(https: ApiServerProcess, tmp_path: Path) -> Path:
    path = tmp_path / "config"
    https.write_kubeconfig(path)
    return path


def test_lightkube_reads_writes_applies_and_watches(kubeconfig: Path) -> None:
    pytest.importorskip("lightkube")
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(kubeconfig), field_manager="lightkube", namespace="default")
    made = client.create(ConfigMap(metadata=ObjectMeta(name="lk", labels={"k": "v"}), data={"a": "b"}))
    made.data["c"] = "d"
    client.replace(made)
    assert client.patch(ConfigMap, "lk", {"data": {"a": None}}).data == {"c": "d"}
    applied = client.apply(ConfigMap(metadata=ObjectMeta(name="lk-2"), data={"a": "b"}))
    assert applied.metadata.managedFields[0].manager == "lightkube"
    assert [found.metadata.name for found in client.list(ConfigMap, labels={"k": "v"})] == ["lk"]
    assert {"lk", "lk-2"} <= {found.metadata.name for found in client.list(ConfigMap, chunk_size=1)}
    for what, seen in client.watch(ConfigMap, labels={"k": "v"}, server_timeout=5):
        assert (what, seen.metadata.name) == ("ADDED", "lk")
        break
    with pytest.raises(ApiError) as missing:
        client.get(ConfigMap, "none")
    assert missing.value.status.reason == "NotFound"
    client.create(Deployment.from_dict(DEPLOYMENT))
    scale = client.get(Deployment.Scale, "d")
    scale.spec.replicas = 3
    assert client.replace(scale, "d").spec.replicas == 3
    for kind, name in ((Deployment, "d"), (ConfigMap, "lk"), (ConfigMap, "lk-2")):
        client.delete(kind, name)


@pytest.mark.filterwarnings("ignore:Kubernetes version")
def test_kr8s_reads_writes_and_scales(kubeconfig: Path) -> None:
    kr8s = pytest.importorskip("kr8s")
    from kr8s.objects import ConfigMap, Deployment

    api = kr8s.api(kubeconfig=str(kubeconfig))
    assert api.version()["major"] == "1"
    made = ConfigMap({"metadata": {"name": "kr", "namespace": "default"}, "data": {"x": "y"}}, api=api)
    made.create()
    made.label({"q": "r"})
    made.patch({"data": {"n": "m"}})
    made.refresh()
    assert made.data == {"x": "y", "n": "m"}
    assert [found.name for found in api.get("configmaps", namespace="default", label_selector="q=r")] == ["kr"]
    deployment = Deployment(DEPLOYMENT, api=api)
    deployment.create()
    deployment.scale(2)
    assert deployment.replicas == 2
    assert "kube-system" in [found.name for found in api.get("ns")]
    deployment.delete()
    made.delete()
    assert not made.exists()
