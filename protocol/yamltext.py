"""Reading manifests: YAML as their authors mean it.

Owns the loader for files that people write. What the API server reads is stricter, and its own.
"""

from __future__ import annotations

from functools import cache
from typing import Any

__all__ = ["manifest_loader"]


@cache
def manifest_loader() -> Any:
    """A safe loader for which a lone `=` is text (it is an operator in some custom resources' schemas;
    YAML 1.1 gives it a meaning that nobody uses)."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """The safe loader, and that."""

    Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)
    return Loader
