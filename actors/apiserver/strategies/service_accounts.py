"""ServiceAccount.

Owns its validation and columns; tokens are issued elsewhere.
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.strategies._base import AGE, NAME, Column, Object, Strategy
from actors.apiserver.strategies._errors import FieldError

__all__ = ["ServiceAccountStrategy"]


_NO_SECRETS_SINCE = 35
_SECRETS = Column("Secrets", "string", "", "How many secrets it names.")


class ServiceAccountStrategy(Strategy):
    """ServiceAccount."""

    standard_finalizers_only = True

    def check_update(self, new: Object, old: Object) -> list[FieldError]:
        return self.check_meta_update(new, old) + self.check(new)

    def columns(self) -> tuple[Column, ...]:
        return (NAME, AGE) if self.minor >= _NO_SECRETS_SINCE else (NAME, _SECRETS, AGE)

    def row(self, obj: Object, now: float) -> list[Any]:
        name, old = obj["metadata"].get("name", ""), self.age(obj, now)
        return [name, old] if self.minor >= _NO_SECRETS_SINCE else [name, len(obj.get("secrets") or ()), old]

    def warnings(self, new: Object, old: Object | None) -> list[str]:
        key = "kubernetes.io/enforce-mountable-secrets"

        def has(obj: Object | None) -> bool:
            return key in ((obj or {"metadata": {}})["metadata"].get("annotations") or {})

        if not has(new) or (old is not None and has(old)):
            return []
        return [
            f"metadata.annotations[{key}]: deprecated in v1.32+; prefer separate namespaces to "
            "isolate access to mounted secrets"
        ]
