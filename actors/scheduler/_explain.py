"""The account of a decision: what every filter said of every node, and how the nodes scored.

Owns its shape (see `protocol.scheduler.ExplainPod`). It asks the profile's plugins anew, without
anything that equal pods share, so it is also a second opinion on the fast path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from actors.scheduler._engine import Engine
from actors.scheduler._fit_error import NO_NODES, fit_message
from actors.scheduler._framework import Cycle
from actors.scheduler._nodes import Ints
from actors.scheduler._pods import PodInfo

__all__ = ["ACCOUNT", "annotation", "explain", "wants_account"]

ASK = "scheduler.kubekka.io/explain"
"""Annotation of a pod, "true": have the account of its scheduling written beside it."""
ACCOUNT = "scheduler.kubekka.io/account"
MAX_BYTES = 200_000
"""Annotations of an object may have 256 KiB together; of large clusters only some nodes are told."""


def wants_account(pod: PodInfo) -> bool:
    """Whether a pod asks for the account of its scheduling."""
    return (pod.object["metadata"].get("annotations") or {}).get(ASK) == "true"


def annotation(account: dict[str, Any]) -> str:
    """An account as the text of an annotation: the best nodes first, as many as there is room for."""
    nodes = sorted(account["nodes"], key=lambda n: (not n["feasible"], -n["total"], n["name"]))
    text = orjson.dumps({**account, "nodes": nodes})
    while len(text) > MAX_BYTES:
        nodes = nodes[: len(nodes) * MAX_BYTES // len(text) - 1]
        text = orjson.dumps({**account, "nodes": nodes, "omitted": len(account["nodes"]) - len(nodes)})
    return text.decode()


def explain(engine: Engine, pod: PodInfo) -> dict[str, Any]:
    """Account for a pod as if it had no node yet. The cache is as before afterwards."""
    cache = engine.cache
    placed = cache.placed(pod.uid)
    where = cache.node_of(pod.uid) if placed is not None else ""
    spec = {k: v for k, v in (pod.object.get("spec") or {}).items() if k != "nodeName"}
    unplaced = cache.classes.info({**pod.object, "spec": spec})
    if placed is None:
        return _account(engine, unplaced, where)
    with cache.supposing(cache.table.index[where], without=[placed]):
        return _account(engine, unplaced, where)


def _account(engine: Engine, pod: PodInfo, where: str) -> dict[str, Any]:
    table = engine.table
    decision = engine.schedule(pod)
    rows: Ints = np.flatnonzero(table.alive[: table.size])
    account: dict[str, Any] = {
        "pod": pod.key,
        "scheduler": pod.scheduler_name,
        "node": where or decision.node,
        "message": "",
        "weights": {p.name: w for p, w in engine.profile.scores},
    }
    if decision.error:
        account["message"] = decision.error
    elif decision.diagnosis is not None:
        account["message"] = fit_message(decision.diagnosis, table)
    elif not decision.node:
        account["message"] = NO_NODES
    account["outcome"] = _outcome(pod, where, decision.node, account["message"])
    refused = decision.diagnosis
    account["nodes"] = [] if refused and refused.pre_filter_message else _nodes(engine, pod, rows)
    return account


def _outcome(pod: PodInfo, where: str, chosen: str, message: str) -> str:
    if where and chosen in ("", where):
        return f"{pod.key} is on {where}"
    if where:
        return f"{pod.key} is on {where}; today it would go to {chosen}"
    if chosen:
        return f"{pod.key} would go to {chosen}"
    return f"{pod.key} fits nowhere: {message}"


def _nodes(engine: Engine, pod: PodInfo, rows: Ints) -> list[dict[str, Any]]:
    table = engine.table
    cycle = Cycle(pod, engine.cache, engine.statuses)
    names = engine.prepare(cycle)
    order = {int(row): i for i, row in enumerate(rows)}
    nodes: list[dict[str, Any]] = [
        {"name": table.names[r] or "", "feasible": True, "rejected": {}, "scores": {}, "total": 0}
        for r in rows.tolist()
    ]
    if names is not None:
        for node in nodes:
            if node["name"] not in names:
                node["feasible"] = False
                node["rejected"]["NodeAffinity"] = ["node(s) didn't satisfy plugin"]
    for plugin in engine.profile.filters:
        if plugin.name in cycle.skip_filter:
            continue
        said = engine.ask_filter(cycle, plugin, rows)
        for i, code in enumerate(said.tolist() if said is not None else ()):
            if code:
                nodes[i]["feasible"] = False
                nodes[i]["rejected"][plugin.name] = list(engine.statuses[code].reasons)
    feasible: Ints = np.array([r for r in rows.tolist() if nodes[order[r]]["feasible"]], np.int64)
    if feasible.shape[0]:
        _scores(engine, cycle, feasible, [nodes[order[r]] for r in feasible.tolist()])
    return nodes


def _scores(engine: Engine, cycle: Cycle, rows: Ints, nodes: list[dict[str, Any]]) -> None:
    engine.prepare_score(cycle, rows)
    for plugin, weight in engine.profile.scores:
        if plugin.name in cycle.skip_score:
            continue
        raw = engine.ask_score(cycle, plugin, rows)
        normalized = plugin.normalize(cycle, raw)
        for i, node in enumerate(nodes):
            score = int(normalized[i])
            node["scores"][plugin.name] = {
                "raw": int(raw[i]),
                "normalized": score,
                "weighted": weight * score,
            }
            node["total"] += weight * score
