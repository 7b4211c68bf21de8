"""The types of Kubernetes' built-in kinds, one view per minor version.

`load(36)` gives a `Schema`; nothing is read before the first question. Types are compiled one by one
as they are asked for. Custom kinds make `Type` objects of their own (`actors/apiserver/crd`), so
whoever walks objects by type serves both.

    pod = load(36).by_gvk("", "v1", "Pod")
    containers = pod.fields["spec"].type.fields["containers"].type
    containers.list_type == "map" and containers.map_keys == ("name",)

Source: the OpenAPI definitions that `kubernetes-validate` ships, and `_gofacts` for what they omit.
"""

from __future__ import annotations

from protocol.schema._load import FIRST_MINOR, LAST_MINOR, Schema, load
from protocol.schema._types import ANY, Field, Type

__all__ = ["ANY", "FIRST_MINOR", "LAST_MINOR", "Field", "Schema", "Type", "load"]
