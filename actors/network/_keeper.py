"""Rules in the kernel, kept as somebody says they should be.

Owns when rules are written: at once at first, then at most once in a while; all of them again after a
failure, and when somebody has flushed them. It knows no Service and no policy: `change` says what is
to be written. Each address family has an applier of its own, and one that fails holds up no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from actors.client import ClientActor, Informer
from actors.kernel import ActorDead, Child, Ref, handles
from protocol.message import Message

if TYPE_CHECKING:  # only a proxy that writes to a kernel needs it
    from actors.network.applier import Apply, Install

__all__ = ["Appliers", "RuleKeeper", "Side"]

Appliers = Mapping[str, "Ref | Child"]


class _Sync(Message, frozen=True):
    """Compute what was noted and write it."""


class _Look(Message, frozen=True):
    """See whether the rules are still in the kernel."""


class Side:
    """One address family: where its rules go, and whether they stand there."""

    __slots__ = ("applier", "failures", "written")

    def __init__(self) -> None:
        self.applier: Ref | None = None
        self.written = False
        self.failures = 0


class RuleKeeper(ClientActor):
    """`appliers`: by family, an `IptablesApplier` (or how to start one, as a child). Without any the
    rules are kept as data."""

    informers: tuple[Informer, ...] = ()

    def __init__(self, families: tuple[str, ...], appliers: Appliers | None) -> None:
        super().__init__()
        self.sides = {family: Side() for family in families}
        self._appliers = appliers or {}
        self._waiting = False

    # -- what a keeper of some kind of rules says ----------------------------------------------

    @property
    def period_s(self) -> float:
        """How often the kernel is looked at, and when a write that failed is tried again."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Something changed: what was noted is to be computed, for all families."""
        raise NotImplementedError

    def change(self, family: str, written: bool) -> Install | Apply | None:
        """What is to be written: all (`Install`) unless rules stand, what changed else, or nothing."""
        raise NotImplementedError

    def wrote(self, family: str, full: bool, written: bool) -> None:
        """A write is over; `written`: it succeeded."""

    def settled(self, noted: Mapping[str, bool]) -> None:
        """A round is over; by family, whether its rules stand as they should."""

    # -- when ------------------------------------------------------------------------------------

    def inform(self, informer: Informer) -> Informer:
        self.informers = (*self.informers, informer)
        return informer

    def start_keeping(self) -> None:
        """To be called when the actor starts."""
        for family, applier in self._appliers.items():
            self.sides[family].applier = applier if isinstance(applier, Ref) else self.spawn(applier)
        for informer in self.informers:
            informer.start()
        if self._appliers:
            self.every(self.period_s, _Look())

    @property
    def applies(self) -> bool:
        """Whether there is a kernel to write to."""
        return bool(self._appliers)

    def sync_in(self, delay_s: float) -> None:
        if not self._waiting:
            self._waiting = True
            self.after(delay_s, _Sync())

    async def synced(self) -> None:
        """Until the first lists have been read."""
        for informer in self.informers:
            await informer.synced()

    @handles(_Sync, serial=lambda message: "apply")
    async def sync(self, message: _Sync) -> None:
        await self.synced()
        self._waiting = False
        self.prepare()
        for family, side in self.sides.items():
            change = self.change(family, side.written) if side.applier is not None else None
            if change is not None:
                await self._write(family, side, change)
        self.settled({family: side.written or side.applier is None for family, side in self.sides.items()})

    async def _write(self, family: str, side: Side, change: Install | Apply) -> None:
        from actors.network.applier import ApplyError

        assert side.applier is not None
        stood = side.written
        try:
            await self.ask(side.applier, change)
            side.written = True
        except (ApplyError, ActorDead) as error:
            # what stands now is not known: write everything, a little later
            self.log.warning("rules_not_applied", family=family, error=str(error))
            side.written, side.failures = False, side.failures + 1
            self.sync_in(self.period_s)
        self.wrote(family, not stood, side.written)

    @handles(_Look, serial=lambda message: "apply")
    async def look(self, message: _Look) -> None:
        """Somebody may have flushed the tables; then everything is written anew."""
        from actors.network.applier import ApplyError, Check

        for family, side in self.sides.items():
            if side.applier is None or not side.written:
                continue
            try:
                present = await self.ask(side.applier, Check())
            except (ApplyError, ActorDead):
                present = False
            if not present:
                self.log.warning("tables_flushed", family=family)
                side.written = False
                self.sync_in(0.0)
