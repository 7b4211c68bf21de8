"""CustomResourceDefinition: the strategy lives with everything else about custom resources."""

from __future__ import annotations

from actors.apiserver.crd._definition import DefinitionStrategy

__all__ = ["DefinitionStrategy"]
