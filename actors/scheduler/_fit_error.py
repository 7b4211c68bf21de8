"""Why a pod could not be placed, in the words that `kubectl describe pod` shows.

    0/5 nodes are available: 1 node(s) had untolerated taint(s), 4 Insufficient cpu. <what
    postFilter plugins said>

Owns the wording only. Reasons are counted over nodes and listed in the order of their text,
`<count> <reason>`, so `10 ...` comes before `2 ...`.
"""

from __future__ import annotations

import numpy as np

from actors.scheduler._framework import Diagnosis
from actors.scheduler._nodes import NodeTable

__all__ = ["NO_NODES", "fit_message", "reasons"]

NO_NODES = "no nodes available to schedule pods"


def reasons(diagnosis: Diagnosis, table: NodeTable) -> dict[str, int]:
    """How many nodes were refused for which reason."""
    codes = diagnosis.codes[table.alive[: diagnosis.codes.shape[0]]]
    found: dict[str, int] = {}
    for code, number in zip(*np.unique(codes, return_counts=True), strict=True):
        status = diagnosis.absent if code < 0 else diagnosis.statuses[int(code)]
        if status.ok:
            continue
        for reason in status.reasons:
            found[reason] = found.get(reason, 0) + int(number)
    return found


def fit_message(diagnosis: Diagnosis, table: NodeTable, post_filter: str = "") -> str:
    """The whole message."""
    text = f"0/{table.count} nodes are available:"
    if diagnosis.pre_filter_message:
        text += f" {diagnosis.pre_filter_message}."
    else:
        counted = sorted(f"{n} {reason}" for reason, n in reasons(diagnosis, table).items())
        if counted:
            text += f" {', '.join(counted)}."
    return f"{text} {post_filter}" if post_filter else text
