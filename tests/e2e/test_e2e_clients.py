"""Unmodified Python clients against a whole cluster: kubernetes, lightkube and kr8s."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import Cluster

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.clients.example.com}
spec:
  group: clients.example.com
  scope: Namespaced
  names: {kind: Lamp, plural: lamps, singular: lamp, listKind: LampList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.watts, statusReplicasPath: .status.watts}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {watts: {type: integer, minimum: 1, default: 40}}}
          status: {type: object, properties: {watts: {type: integer}}}
"""
LAMP: dict[str, Any] = {"apiVersion": "clients.example.com/v1", "kind": "Lamp"}


def deployment(name: str, replicas: int = 1) -> dict[str, Any]:
    """A Deployment as a plain object."""
    pod = {"containers": [{"name": "c", "image": "web:1", "ports": [{"containerPort": 80}]}]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


@pytest.fixture(scope="module")
def lamps(cluster: Cluster) -> Cluster:
    """The cluster, serving a custom resource."""
    cluster.apply(DEFINITION)
    cluster.wait("crd/lamps.clients.example.com", "Established")
    return cluster


# --- the official client ------------------------------------------------------------------------


@pytest.fixture
def official(cluster: Cluster) -> Iterator[Any]:
    kubernetes = pytest.importorskip("kubernetes", reason="the kubernetes client is not installed")
    configuration = kubernetes.client.Configuration()
    kubernetes.config.load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)
    with kubernetes.client.ApiClient(configuration) as made:
        yield made


def test_the_typed_client_rolls_out_a_deployment_and_reads_its_pods(official: Any, cluster: Cluster) -> None:
    from kubernetes import client, watch

    apps, core = client.AppsV1Api(official), client.CoreV1Api(official)
    apps.create_namespaced_deployment("default", deployment("typed", 2))
    for event in watch.Watch().stream(
        apps.list_namespaced_deployment, "default", field_selector="metadata.name=typed", timeout_seconds=15
    ):
        if event["object"].status.ready_replicas == 2:
            break
    pods = core.list_namespaced_pod("default", label_selector="app=typed").items
    assert [pod.status.phase for pod in pods] == ["Running", "Running"]
    assert {pod.spec.node_name for pod in pods} <= {node.metadata.name for node in core.list_node().items}
    assert isinstance(core.read_namespaced_pod_log(pods[0].metadata.name, "default"), str)
    scale = apps.read_namespaced_deployment_scale("typed", "default")
    scale.spec.replicas = 1
    assert apps.replace_namespaced_deployment_scale("typed", "default", scale).spec.replicas == 1
    apps.delete_namespaced_deployment("typed", "default", propagation_policy="Foreground")
    cluster.wait("deployments/typed", "deleted")
    assert core.list_namespaced_pod("default", label_selector="app=typed").items == []


def test_the_typed_client_evicts_executes_and_asks_who_it_is(official: Any, cluster: Cluster) -> None:
    from kubernetes import client
    from kubernetes.stream import stream

    core = client.CoreV1Api(official)
    cluster.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: box}\nspec: {containers: [{name: c, image: busybox}]}\n")
    cluster.wait("pods/box", "Ready")
    said = stream(
        core.connect_get_namespaced_pod_exec, "box", "default", command=["echo", "hi"], stdout=True, stderr=True,
        stdin=False, tty=False,
    )
    assert said.strip() == "hi"
    core.create_namespaced_pod_eviction("box", "default", client.V1Eviction(metadata=client.V1ObjectMeta(name="box")))
    cluster.wait("pods/box", "deleted")
    review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(verb="create", resource="pods", namespace="default")))
    assert client.AuthorizationV1Api(official).create_self_subject_access_review(review).status.allowed
    assert client.VersionApi(official).get_code().major == "1"


def test_the_typed_client_forwards_a_port_until_the_pod_closes_it(official: Any, cluster: Cluster) -> None:
    from kubernetes import client
    from kubernetes.stream import portforward

    core = client.CoreV1Api(official)
    cluster.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: page}\nspec: {containers: "
                  "[{name: c, image: nginx, ports: [{containerPort: 80}]}]}\n")  # fmt: skip
    cluster.wait("pods/page", "Ready")
    forward = portforward(core.connect_get_namespaced_pod_portforward, "page", "default", ports="80")
    connection = forward.socket(80)
    connection.settimeout(10)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: page\r\nConnection: close\r\n\r\n")
    received = b""
    while data := connection.recv(1024):
        received += data
    assert received.endswith(b"\r\nConnection: close\r\n\r\npage\n")
    assert forward.error(80) is None


def test_the_dynamic_client_handles_a_custom_resource(official: Any, lamps: Cluster) -> None:
    from kubernetes import dynamic

    resource = dynamic.DynamicClient(official).resources.get(api_version="clients.example.com/v1", kind="Lamp")
    made = resource.create(body={**LAMP, "metadata": {"name": "dyn"}, "spec": {}}, namespace="default")
    assert made.spec.watts == 40
    events: list[tuple[str, int]] = []

    def follow() -> None:
        version = made.metadata.resourceVersion
        for event in resource.watch(namespace="default", resource_version=version, timeout=15):
            events.append((event["type"], event["object"].spec.watts))
            if event["type"] == "DELETED":
                return

    thread = threading.Thread(target=follow)
    thread.start()
    merge = "application/merge-patch+json"
    resource.patch(name="dyn", namespace="default", body={"spec": {"watts": 60}}, content_type=merge)
    resource.status.patch(name="dyn", namespace="default", body={"status": {"watts": 60}}, content_type=merge)
    with pytest.raises(dynamic.exceptions.UnprocessibleEntityError):
        resource.patch(name="dyn", namespace="default", body={"spec": {"watts": 0}}, content_type=merge)
    assert [item.status.watts for item in resource.get(namespace="default").items] == [60]
    applied = resource.server_side_apply(
        body={**LAMP, "metadata": {"name": "dyn"}, "spec": {"watts": 75}}, namespace="default", field_manager="me",
        force_conflicts=True,
    )
    assert applied.spec.watts == 75
    resource.delete(name="dyn", namespace="default")
    thread.join(20)
    assert events == [("MODIFIED", 60), ("MODIFIED", 60), ("MODIFIED", 75), ("DELETED", 75)]


# --- lightkube ----------------------------------------------------------------------------------


def test_lightkube_waits_for_a_deployment_and_handles_a_custom_resource(lamps: Cluster) -> None:
    pytest.importorskip("lightkube", reason="lightkube is not installed")
    from lightkube import ApiError, Client, KubeConfig
    from lightkube.generic_resource import create_namespaced_resource
    from lightkube.resources.apps_v1 import Deployment
    from lightkube.resources.core_v1 import Pod
    from lightkube.types import PatchType

    client = Client(config=KubeConfig.from_file(lamps.kubeconfig), field_manager="lightkube", namespace="default")
    client.create(Deployment.from_dict(deployment("light")))
    client.wait(Deployment, "light", for_conditions=["Available"])
    (pod,) = client.list(Pod, labels={"app": "light"})
    assert pod.status.phase == "Running"
    assert isinstance(list(client.log(pod.metadata.name)), list)
    client.delete(Deployment, "light")
    lamp_kind = create_namespaced_resource("clients.example.com", "v1", "Lamp", "lamps")
    made = client.create(lamp_kind(metadata={"name": "light"}, spec={"watts": 25}))
    made["spec"]["watts"] = 30
    client.replace(made)
    client.patch(lamp_kind.Status, "light", {"status": {"watts": 30}}, patch_type=PatchType.MERGE)
    found = client.get(lamp_kind, "light")
    assert (found.spec, found.status) == ({"watts": 30}, {"watts": 30})
    scale = client.get(lamp_kind.Scale, "light")
    assert scale.spec.replicas == 30
    applied = client.apply(lamp_kind(metadata={"name": "light-2"}, spec={"watts": 5}))
    assert applied.metadata.managedFields[0].operation == "Apply"
    with pytest.raises(ApiError) as refused:
        client.create(lamp_kind(metadata={"name": "dark"}, spec={"watts": 0}))
    assert refused.value.status.reason == "Invalid"
    client.deletecollection(lamp_kind)
    assert list(client.list(lamp_kind)) == []


# --- kr8s ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Kubernetes version")
def test_kr8s_scales_waits_watches_and_handles_a_custom_resource(lamps: Cluster) -> None:
    kr8s = pytest.importorskip("kr8s", reason="kr8s is not installed")
    from kr8s.objects import Deployment, Pod, new_class

    api = kr8s.api(kubeconfig=str(lamps.kubeconfig))
    made = Deployment(deployment("kr"), api=api)
    made.create()
    made.wait("condition=Available", timeout=15)
    made.scale(2)
    lamps.wait("deployments/kr", lambda found: found["status"].get("readyReplicas") == 2)
    assert len(made.pods()) == 2
    assert "node-0" in [node.name for node in api.get("nodes")]
    box = Pod({"metadata": {"name": "kr-box"}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}}, api=api)
    box.create()
    box.wait("condition=Ready", timeout=15)
    assert box.exec(["echo", "hi"]).stdout.decode().strip() == "hi"
    box.delete()
    made.delete()
    lamp = new_class(kind="Lamp", version="clients.example.com/v1", namespaced=True)(
        {"metadata": {"name": "kr", "namespace": "default"}, "spec": {"watts": 10}}, api=api
    )
    lamp.create()
    lamp.patch({"spec": {"watts": 20}})
    lamp.patch({"status": {"watts": 20}}, subresource="status")
    lamp.refresh()
    assert (lamp.spec.watts, lamp.status.watts) == (20, 20)
    assert [found.name for found in api.get("lamps.clients.example.com", namespace="default")] == ["kr"]
    lamp.delete()
    assert not lamp.exists()
