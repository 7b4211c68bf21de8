"""etcd's protobuf messages, compiled, from the package `etcd3aio`.

Imported only where somebody speaks protobuf: it costs a tenth of a second and ten megabytes.
"""

from __future__ import annotations

from typing import Any

from etcd3aio import _protobuf  # puts the generated modules where they find each other

__all__ = ["rpc"]

rpc: Any = _protobuf.rpc_pb2
