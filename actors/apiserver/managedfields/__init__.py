"""Who owns which field: tracking of updates, and server-side apply.

Owns `metadata.managedFields` and the merge that apply does. It must never decide whether a write is
valid, and knows no storage. Order matters: `update` belongs after decoding and defaulting and before
admission, so that what admission and strategies add is owned by nobody (as upstream has it).

    update(pod_type, None, obj, "kubectl-create", api_version="v1", now=clock.rfc3339())
    obj = apply(pod_type, live, config, "kubectl", force=False, api_version="v1", kind="Pod", now=...)

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

from actors.apiserver.managedfields._apply import apply
from actors.apiserver.managedfields._check import check
from actors.apiserver.managedfields._config import read_config
from actors.apiserver.managedfields._managers import (
    Manager,
    decode_managers,
    encode_managers,
    keep_timestamps,
    manager_name,
    validate_entries,
)
from actors.apiserver.managedfields._reset import Filter, exclude, include, reset_filter
from actors.apiserver.managedfields._scale import scale_entries
from actors.apiserver.managedfields._update import update
from actors.apiserver.managedfields._walk import merge

__all__ = [
    "Filter",
    "Manager",
    "apply",
    "check",
    "decode_managers",
    "encode_managers",
    "exclude",
    "include",
    "keep_timestamps",
    "manager_name",
    "merge",
    "read_config",
    "reset_filter",
    "scale_entries",
    "update",
    "validate_entries",
]
