"""`cluster-info` is signed with each bootstrap token that may sign."""

from __future__ import annotations

from typing import Any

from actors.controllers.bootstrapsigner import detached_signature

Object = dict[str, Any]
CONTROLLERS = "bootstrap-signer-controller"


def token(name: str, **fields: str) -> Object:
    data = {"token-id": name, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", **fields}
    meta = {"name": f"bootstrap-token-{name}", "namespace": "kube-system"}
    return {"metadata": meta, "type": "bootstrap.kubernetes.io/token", "stringData": data}


def signatures(world: Any) -> dict[str, str]:
    data = world.get("configmaps", "cluster-info", "kube-public")["data"]
    return {name: text for name, text in data.items() if name != "kubeconfig"}


def info(world: Any) -> None:
    meta = {"name": "cluster-info", "namespace": "kube-public"}
    world.create("configmaps", {"metadata": meta, "data": {"kubeconfig": "hello"}}, "kube-public")


def test_a_detached_signature_is_that_of_the_jws_libraries() -> None:
    content = "Hello from the other side. I must have called a thousand times."
    signed = detached_signature(content, "joshua", "my voice is my passcode")
    assert signed == "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"


def test_tokens_that_may_sign_do_and_no_others(plane: Any) -> None:
    world = plane(CONTROLLERS)
    world.create("secrets", token("aaaaaa"), "kube-system")
    world.create("secrets", token("bbbbbb", **{"usage-bootstrap-signing": "false"}), "kube-system")
    world.create("secrets", token("cccccc", expiration="2001-01-01T00:00:00Z"), "kube-system")
    info(world)
    world.eventually(lambda: list(signatures(world)) == ["jws-kubeconfig-aaaaaa"])
    assert signatures(world)["jws-kubeconfig-aaaaaa"] == detached_signature("hello", "aaaaaa", "0123456789abcdef")


def test_signatures_follow_the_content_and_the_tokens(plane: Any) -> None:
    world = plane(CONTROLLERS)
    info(world)
    world.create("secrets", token("aaaaaa"), "kube-system")
    before = world.eventually(lambda: signatures(world))
    world.patch("configmaps", "cluster-info", {"data": {"kubeconfig": "other"}}, "kube-public")
    world.eventually(lambda: signatures(world) and signatures(world) != before)
    world.delete("secrets", "bootstrap-token-aaaaaa", "kube-system")
    world.eventually(lambda: signatures(world) == {})
