"""The API server: every request to the cluster's state goes through this room.

Owns the request pipeline (authenticate, authorise, decode, patch, default, admit, prepare,
validate, manage fields, store), the watch cache, discovery and the HTTP front. It talks to etcd
only by messages and must never know how etcd, a controller or a node works.
"""

from __future__ import annotations

from typing import Any

__all__ = ["ApiServer", "ApiServerConfig"]


def __getattr__(name: str) -> Any:
    """Import on first use: what a test does not start, it does not pay for."""
    if name == "ApiServer":
        from actors.apiserver._server import ApiServer

        return ApiServer
    if name == "ApiServerConfig":
        from actors.apiserver._config import ApiServerConfig

        return ApiServerConfig
    raise AttributeError(name)
