"""The HTTPS transport against a served API server: the same client, the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors.client import HttpTransport, Informer, OutsideClient, StatusError, load_kubeconfig
from actors.client._transport import request_target
from actors.kernel import Child, LiveSystem
from cluster import ApiServerProcess, ClusterConfig
from protocol.api import ApiRequest, Resource


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("api") / "kubeconfig"
    server = ApiServerProcess(ClusterConfig(nodes=0)).start()
    server.write_kubeconfig(path)
    yield path
    server.stop()


@pytest.fixture
def client(live: LiveSystem, kubeconfig: Path) -> OutsideClient:
    transport = live.spawn(Child("transport", partial(HttpTransport, load_kubeconfig(kubeconfig))))
    return OutsideClient(live, transport, timeout_s=10.0)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_every_verb_crosses_the_wire(client: OutsideClient) -> None:
    made = client.create("configmaps", config_map("verbs", a="1"), "default")
    assert client.get("configmaps", "verbs", "default")["metadata"]["uid"] == made["metadata"]["uid"]
    updated = client.run(lambda c: c.update("configmaps", {**made, "data": {"a": "2"}}))
    assert updated["data"] == {"a": "2"}
    patched = client.patch("configmaps", "verbs", "default", {"data": {"b": "3"}})
    assert patched["data"] == {"a": "2", "b": "3"}
    assert "verbs" in [c["metadata"]["name"] for c in client.list("configmaps", "default")]
    client.delete("configmaps", "verbs", "default")
    with pytest.raises(StatusError) as error:
        client.get("configmaps", "verbs", "default")
    assert (error.value.code, error.value.reason) == (404, "NotFound")
    assert error.value.message == 'configmaps "verbs" not found'


def test_an_unknown_api_is_a_404_without_a_name(client: OutsideClient) -> None:
    with pytest.raises(StatusError) as error:
        client.run(lambda c: c.list(Resource("metrics.k8s.io", "v1beta1", "pods")))
    assert error.value.message == "the server could not find the requested resource"


def test_conflicts_and_invalid_objects_come_back_as_they_are(client: OutsideClient) -> None:
    made = client.create("configmaps", config_map("conflict"), "default")
    client.patch("configmaps", "conflict", "default", {"data": {"x": "y"}})
    with pytest.raises(StatusError) as error:
        client.run(lambda c: c.update("configmaps", made))
    assert error.value.code == 409
    with pytest.raises(StatusError) as error:
        client.create("configmaps", config_map("Not_Valid"), "default")
    assert error.value.reason == "Invalid"


def test_an_informer_follows_over_the_wire(client: OutsideClient) -> None:
    seen: list[str] = []

    async def follow(c: Any) -> None:
        informer = Informer(
            c,
            "configmaps",
            namespace="default",
            on_add=lambda o: seen.append(f"+{o['metadata']['name']}"),
            on_update=lambda _, o: seen.append(f"~{o['metadata']['name']}"),
            on_delete=lambda o: seen.append(f"-{o['metadata']['name']}"),
        )
        informer.start()
        await informer.synced()
        await c.create("configmaps", config_map("watched"), "default")
        await c.patch("configmaps", "watched", "default", {"data": {"a": "b"}})
        await c.delete("configmaps", "watched", "default")
        for _ in range(500):
            if "-watched" in seen:
                break
            await c.actor.sleep(0.01)
        informer.stop()

    client.run(follow)
    assert [s for s in seen if s.endswith("watched")] == ["+watched", "~watched", "-watched"]


def test_many_requests_at_once_share_connections(client: OutsideClient) -> None:
    async def many(c: Any) -> list[Any]:
        made: list[Any] = await c.actor.gather(
            *(c.create("configmaps", config_map(f"many-{i}"), "default") for i in range(200))
        )
        return made

    assert len({m["metadata"]["uid"] for m in client.run(many)}) == 200


def test_a_server_that_is_not_there_is_a_503(live: LiveSystem, tmp_path: Path) -> None:
    text = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: k, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: k, user: u}}]
"""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    transport = live.spawn(Child("transport", partial(HttpTransport, load_kubeconfig(path))))
    client = OutsideClient(live, transport, timeout_s=10.0)
    with pytest.raises(StatusError) as error:
        client.create("configmaps", config_map("x"), "default")
    assert error.value.code == 503
    assert "127.0.0.1:1 cannot be reached" in error.value.message


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1, 2]", "is not a kubeconfig"),
        ("a: [", "is not YAML"),
        ("apiVersion: v1", "has no current-context"),
        ("current-context: x", 'has no context "x"'),
        (
            "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
            "clusters: [{name: k, cluster: {server: nonsense}}]\nusers: [{name: u, user: {}}]",
            "is not the URL of a server",
        ),
        (
            "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
            "clusters: [{name: k, cluster: {server: 'https://h'}}]\nusers: [{name: u, user: {exec: {command: x}}}]",
            "`exec` are not supported",
        ),
        (
            "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {}}]\n"
            "clusters: [{name: k, cluster: {server: 'https://h', certificate-authority-data: '!!!'}}]",
            "is not base64",
        ),
    ],
)
def test_what_is_no_kubeconfig_is_refused_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ValueError, match="kubeconfig") as error:
        load_kubeconfig(path)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


PODS = Resource("", "v1", "pods")


@pytest.mark.parametrize(
    ("make", "target"),
    [
        (lambda: ApiRequest("list", PODS), "/api/v1/pods"),
        (lambda: ApiRequest("get", PODS, "ns", "a b"), "/api/v1/namespaces/ns/pods/a%20b"),
        (
            lambda: ApiRequest("create", PODS, "ns", "p", "binding"),
            "/api/v1/namespaces/ns/pods/p/binding",
        ),
        (
            lambda: ApiRequest("watch", Resource("apps", "v1", "deployments"), options={"labelSelector": "a=b"}),
            "/apis/apps/v1/deployments?labelSelector=a%3Db&watch=1",
        ),
    ],
)
def test_requests_have_their_place_in_the_api(make: Callable[[], ApiRequest], target: str) -> None:
    assert request_target(make()) == target
