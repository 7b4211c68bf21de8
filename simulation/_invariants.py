"""Checks in CEL: what must hold of the objects in the store, always or in the end.

Owns the variables that expressions may mention and the compiled programs. When they are judged is the
run's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.cel import DYN, CelError, Environment

__all__ = ["RESOURCES", "Invariant", "InvariantError"]

RESOURCES = {
    "configmaps": "", "cronjobs": "batch", "daemonsets": "apps", "deployments": "apps",
    "endpointslices": "discovery.k8s.io", "events": "", "horizontalpodautoscalers": "autoscaling", "jobs": "batch",
    "leases": "coordination.k8s.io", "namespaces": "", "nodes": "", "persistentvolumeclaims": "",
    "persistentvolumes": "", "poddisruptionbudgets": "policy", "pods": "", "replicasets": "apps", "secrets": "",
    "services": "", "statefulsets": "apps",
}  # fmt: skip
"""The lists that an expression may mention, each with its API group."""
SECONDS = "seconds"  # how long the scenario has run


class InvariantError(ValueError):
    """An expression that does not compile, or is no condition."""


class Invariant:
    """One condition. Raises: InvariantError."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        try:
            self._program = Environment({**dict.fromkeys(RESOURCES, DYN), SECONDS: DYN}).compile(text)
        except CelError as error:
            raise InvariantError(" ".join(str(error).split())) from None
        if self._program.type not in ("bool", "dyn"):
            raise InvariantError(f"a check is true or false, and this is of type {self._program.type}")

    def problem(self, seconds: float, objects: Callable[[str, str], list[dict[str, Any]]]) -> str:
        """Why it does not hold of the objects that `objects(group, resource)` answers; empty when it does."""
        variables: dict[str, Any] = {SECONDS: seconds}
        for name in self._program.used & RESOURCES.keys():
            variables[name] = objects(RESOURCES[name], name)
        try:
            value = self._program.run(variables)
        except CelError as error:
            return f"cannot be judged ({error})"
        return "" if value is True else "does not hold"
