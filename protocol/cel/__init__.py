"""CEL as Kubernetes has it: types, cost limits, Kubernetes' libraries, and cel-go's words.

Owns environments, compiled programs and the costs of expressions, before they run and while they do. It
must never know what an expression is for. `cel-expr-python` (the CEL project's own) counts no cost, knows
none of Kubernetes' types and puts its errors in other words, so expressions are checked and run here; it
words syntax errors, and the tests hold this package to it.

    program = Environment({"self": DYN}).compile("self.replicas <= self.max")
    program.run({"self": {"replicas": 3, "max": 5}})

https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from protocol.cel._cost import MAX as MAX_COST
from protocol.cel._environment import CelError, Environment, Program, dynamic
from protocol.cel._identifiers import escape
from protocol.cel._json import to_json
from protocol.cel._kinds import type_of_kind
from protocol.cel._opaque import Authorizer, Quantity, ResourceCheck, Semver, url_problem
from protocol.cel._regex import compile_pattern
from protocol.cel._run import PER_CALL_LIMIT
from protocol.cel._schemas import Checker, type_of_schema
from protocol.cel._times import parse_duration, parse_timestamp
from protocol.cel._types import BOOL, DYN, INT, STRING, Type, list_of, map_of, struct
from protocol.cel._values import (
    NONE,
    Duration,
    Failure,
    MapList,
    Message,
    Opaque,
    Optional,
    SetList,
    Timestamp,
    type_name,
)

__all__ = [
    "BOOL", "CONDITIONS_BUDGET", "DYN", "INT", "MAX_COST", "NONE", "PER_CALL_LIMIT", "RUNTIME_BUDGET", "STRING",
    "Authorizer", "CelError", "Checker", "Duration", "Environment", "Failure", "MapList", "Message", "Opaque", "Optional",
    "Program", "Quantity", "ResourceCheck", "Semver", "SetList", "Timestamp", "Type", "compile_pattern", "dynamic", "escape", "list_of",
    "map_of", "parse_duration", "parse_timestamp", "struct", "to_json", "type_name", "type_of_kind", "type_of_schema", "url_problem",
]  # fmt: skip
RUNTIME_BUDGET = 10_000_000
"""Cost units for all expressions of one policy with one binding, or all rules of one custom object."""
CONDITIONS_BUDGET = 2_500_000
"""Cost units for the match conditions of one webhook or policy."""
