"""kubeconfig files: how a client finds the server and who it is.

https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import orjson

from actors.apiserver.pki import KeyPair, write_private

__all__ = ["document", "write"]


def document(
    server: str, ca: bytes = b"", client: KeyPair | None = None, token: str = "", user: str = "admin",
    cluster: str = "kubekka",
) -> dict[str, Any]:
    """A kubeconfig with one cluster, one user and one context."""
    where: dict[str, Any] = {"server": server}
    if ca:
        where["certificate-authority-data"] = base64.b64encode(ca).decode()
    who: dict[str, Any] = {}
    if client is not None:
        who["client-certificate-data"] = base64.b64encode(client.certificate).decode()
        who["client-key-data"] = base64.b64encode(client.key).decode()
    if token:
        who["token"] = token
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [{"name": cluster, "cluster": where}],
        "users": [{"name": user, "user": who}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }


def write(
    path: Path, server: str, ca: bytes = b"", client: KeyPair | None = None, token: str = "", user: str = "admin"
) -> None:
    """Write a kubeconfig that only its owner can read. JSON, which is YAML too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = document(server, ca, client, token, user)
    write_private(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
