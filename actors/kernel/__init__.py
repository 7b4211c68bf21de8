"""The actor system on Pykka: mailboxes, dispatchers, clock, supervision, trace, simulation.

An `Actor` has one handler per message type; a `LiveSystem` runs actors on an asyncio loop, a
`Simulation` runs the same ones in virtual time from a seed. See `_actor` for how an actor is
written and `_cell` for what the kernel guarantees.
"""

from actors.kernel._activity import Activity
from actors.kernel._actor import Actor, ThreadActor, handles
from actors.kernel._clock import AcceleratedClock, Clock, LiveClock, Timer, VirtualClock, rfc3339, rfc3339_micro
from actors.kernel._errors import (
    ActorDead,
    AskTimeout,
    BlockingCall,
    MailboxFull,
    RestartIntensityExceeded,
)
from actors.kernel._faults import crash, revive
from actors.kernel._future import Future, on_dispatcher
from actors.kernel._letters import Stats, Terminated
from actors.kernel._links import Link
from actors.kernel._live import LiveSystem
from actors.kernel._log import configure_logging
from actors.kernel._mailbox import Bounded
from actors.kernel._ref import Ref
from actors.kernel._simulation import Simulation, Stuck
from actors.kernel._supervision import Child, Restart
from actors.kernel._system import ActorSystem
from actors.kernel._timekeeper import TimeKeeper
from actors.kernel._trace import DeadLetter, Tracer, TraceRecord

__all__ = [
    "AcceleratedClock",
    "Activity",
    "Actor",
    "ActorDead",
    "ActorSystem",
    "AskTimeout",
    "BlockingCall",
    "Bounded",
    "Child",
    "Clock",
    "DeadLetter",
    "Future",
    "Link",
    "LiveClock",
    "LiveSystem",
    "MailboxFull",
    "Ref",
    "Restart",
    "RestartIntensityExceeded",
    "Simulation",
    "Stats",
    "Stuck",
    "Terminated",
    "ThreadActor",
    "TimeKeeper",
    "Timer",
    "TraceRecord",
    "Tracer",
    "VirtualClock",
    "configure_logging",
    "crash",
    "handles",
    "on_dispatcher",
    "revive",
    "rfc3339",
    "rfc3339_micro",
]
