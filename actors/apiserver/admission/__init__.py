"""Admission: what may change or refuse a write before it is stored.

Owns the plugins and their order. `default_plugins()` is what a cluster runs.
"""

from __future__ import annotations

from actors.apiserver.admission._base import CONNECT, CREATE, DELETE, UPDATE, Attributes, Chain, Lookup, Plugin
from actors.apiserver.admission._namespace import NamespaceLifecycle

__all__ = [
    "CONNECT",
    "CREATE",
    "DELETE",
    "UPDATE",
    "Attributes",
    "Chain",
    "Lookup",
    "NamespaceLifecycle",
    "Plugin",
    "default_plugins",
]


def default_plugins() -> list[Plugin]:
    """The plugins of an API server with upstream's default set, in upstream's order."""
    return [NamespaceLifecycle()]
