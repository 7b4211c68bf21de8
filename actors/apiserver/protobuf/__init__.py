"""Kubernetes' protobuf encoding of request bodies (`application/vnd.kubernetes.protobuf`).

Owns the wire format and the table of field numbers. Go clients of built-in kinds send it by
default; answers are JSON, which these clients accept as well. It must never validate: what it makes
is decoded again like JSON, which drops what Go's JSON would have left out.

    unwrap(b"k8s\\0...")  ->  {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {...}, ...}

https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from actors.apiserver.protobuf._decode import ProtobufError, unwrap

__all__ = ["ProtobufError", "unwrap"]
