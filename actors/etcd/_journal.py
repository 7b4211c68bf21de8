"""placeholder"""
from __future__ import annotations
from typing import Any
class Journal:
    def __init__(self, *a: Any) -> None:
        raise NotImplementedError
