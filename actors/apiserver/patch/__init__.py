"""Patches: JSON patch, merge patch and strategic merge patch, with upstream's errors.

Owns how a patch document changes an object. It must never read the store or know managers of fields.

    obj, warnings = apply_patch("application/merge-patch+json", type_, current, body, "Warn")

https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/
"""

from __future__ import annotations

from actors.apiserver.patch._apply import (
    APPLY,
    JSON,
    MERGE,
    STRATEGIC,
    apply_json,
    apply_merge,
    apply_patch,
    apply_strategic,
)
from actors.apiserver.patch._gotext import go_quote, go_value
from actors.apiserver.patch._json import PatchProblem, apply_operations

__all__ = [
    "APPLY",
    "JSON",
    "MERGE",
    "STRATEGIC",
    "PatchProblem",
    "apply_json",
    "apply_merge",
    "apply_operations",
    "apply_patch",
    "apply_strategic",
    "go_quote",
    "go_value",
]
