"""CEL with Kubernetes' functions, for validation rules and admission policies.

Owns environments, compiled programs and the words of their errors. It must never know what an
expression is for. The engine is `cel-expr-python` (the CEL project's own runtime); it is loaded
when the first expression is compiled.

    program = compile_program("self.replicas <= self.max", ("self", "oldSelf"))
    program.run({"self": {"replicas": 3, "max": 5}})

https://kubernetes.io/docs/reference/using-api/cel/
"""

from __future__ import annotations

from actors.apiserver.cel._cost import MAX as MAX_COST
from actors.apiserver.cel._engine import CelError, Program, Scope, compile_program, with_authorizer
from actors.apiserver.cel._functions import AUTHORIZER
from actors.apiserver.cel._initializers import as_maps
from actors.apiserver.cel._typed import Checker, check_types

__all__ = ["AUTHORIZER", "MAX_COST", "CelError", "Checker", "Program", "Scope", "as_maps", "check_types", "compile_program", "with_authorizer"]
