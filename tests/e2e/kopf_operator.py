"""An operator as its users write them: for each Shelf a ConfigMap, counted in the Shelf's status.

Run by the tests with `kopf run`; it knows nothing of whose API server it talks to.
"""

from __future__ import annotations

from typing import Any

import kopf
from kubernetes import client, config

GROUP, VERSION, PLURAL = "library.example.com", "v1", "shelves"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Log in and keep progress where the schema lets it."""
    config.load_kube_config()
    settings.persistence.finalizer = "library.example.com/tidy"
    settings.posting.enabled = True


@kopf.on.create(GROUP, VERSION, PLURAL)
def created(name: str, namespace: str, spec: kopf.Spec, body: kopf.Body, **_: Any) -> dict[str, Any]:
    """Make the ConfigMap; what is returned goes to `status.created`."""
    books = spec.get("books") or []
    made = {"metadata": {"name": f"{name}-books"}, "data": {"books": ",".join(books)}}
    kopf.adopt(made)
    client.CoreV1Api().create_namespaced_config_map(namespace, made)
    kopf.info(body, reason="Filled", message=f"{len(books)} books are on the shelf")
    return {"books": len(books)}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.books")
def updated(name: str, namespace: str, new: list[str] | None, patch: kopf.Patch, **_: Any) -> None:
    """Follow the books, and say so in the status."""
    body = {"data": {"books": ",".join(new or [])}}
    client.CoreV1Api().patch_namespaced_config_map(f"{name}-books", namespace, body)
    patch.status["books"] = len(new or [])


@kopf.on.delete(GROUP, VERSION, PLURAL)
def deleted(name: str, namespace: str, **_: Any) -> None:
    """Leave a note before the shelf goes."""
    note = {"metadata": {"name": f"{name}-gone"}, "data": {"why": "sold"}}
    client.CoreV1Api().create_namespaced_config_map(namespace, note)


@kopf.on.event("configmaps", labels={"watched": "yes"})
def seen(event: Any, name: str, namespace: str, **_: Any) -> None:
    """Mark what is watched, once."""
    if event["type"] != "DELETED" and "seen" not in (event["object"].get("data") or {}):
        client.CoreV1Api().patch_namespaced_config_map(name, namespace, {"data": {"seen": "yes"}})
