"""How a live cluster's faults and time are offered to whoever is outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from actors.client import OutsideClient
from actors.kernel import Ref

if TYPE_CHECKING:
    from simulation import ClusterClock

__all__ = ["LazyPaths", "PatientClient"]

PATIENCE_S = 0.1  # how long a request may take before a clock that stands still is moved for it
CHAOS_PATHS = ("/kubekka/chaos", "/kubekka/clock")


class PatientClient(OutsideClient):
    """A client of a cluster whose time stands still: what can only be answered later (a retry, a
    slow disk) lets it pass."""

    clock: ClusterClock

    def run(self, work: Callable[[Any], Any], timeout_s: float | None = None) -> Any:
        with self.clock.waiting(timeout_s or 60.0, PATIENCE_S):
            return super().run(work, timeout_s)


class LazyPaths(Mapping[str, Ref]):
    """The paths of `/kubekka` and who answers them, made at the first request."""

    def __init__(self, make: Callable[[], Ref]) -> None:
        self._make = make
        self._desk: Ref | None = None

    def __getitem__(self, path: str) -> Ref:
        if path not in CHAOS_PATHS:
            raise KeyError(path)
        if self._desk is None:
            self._desk = self._make()
        return self._desk

    def __iter__(self) -> Iterator[str]:
        return iter(CHAOS_PATHS)

    def __len__(self) -> int:
        return len(CHAOS_PATHS)
