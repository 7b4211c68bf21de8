"""Custom resources: definitions, what they make the server serve, and how their objects are treated.

Owns everything between a CustomResourceDefinition and a served resource. `attach` makes an API server
follow its stored definitions; all else here is pure, and loaded when the first definition is there.

https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/custom-resources/
"""

from __future__ import annotations

from actors.apiserver.crd._serve import Definitions, attach

__all__ = ["Definitions", "attach"]
