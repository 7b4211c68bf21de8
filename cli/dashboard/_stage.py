"""What the dashboard looks at: a served cluster, or a simulation whose time the viewer owns.

Everything here may be called from any thread. A simulation is stepped by one thread at a time,
whoever holds its lock.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import msgspec

from actors.kernel import Tracer, TraceRecord
from cli._actors import Look
from cli._narrate import component, narrate, subject

if TYPE_CHECKING:
    from cluster import Cluster, SimulatedCluster

__all__ = ["LiveStage", "SimulatedStage", "Stage"]

MESSAGES_KEPT = 5_000
TICK_S = 0.05  # real seconds between two steps of a simulation that plays
LONGEST_JUMP_S = 24 * 3600.0


class Story:
    """The messages that have a meaning to a reader, numbered, the last ones of them."""

    def __init__(self, tracer: Tracer) -> None:
        self._told: deque[dict[str, Any]] = deque(maxlen=MESSAGES_KEPT)
        tracer.subscribe(self._record)

    def _record(self, record: TraceRecord) -> None:
        told = narrate(record)
        if told is not None:
            about = subject(record)
            line = {"id": record.id, "time": record.time_s, "who": component(record.sender), "what": told, "about": about}
            self._told.append(line)

    def after(self, number: int, most: int = 200) -> list[dict[str, Any]]:
        """The last ones with a greater number."""
        return [line for line in list(self._told) if line["id"] > number][-most:]

    def about(self, name: str, most: int = 40) -> list[dict[str, Any]]:
        """The last ones about an object of this kind and name (`pods/web-1`)."""
        return [line for line in list(self._told) if line["about"] == name][-most:]


class Stage:
    """The parts that both have. `cluster` has `client` and `parts`."""

    steerable = False

    def __init__(self, cluster: Any, tracer: Tracer, system: Any) -> None:
        self.cluster = cluster
        self.system = system
        self.story = Story(tracer)

    def hold(self) -> AbstractContextManager[Any]:
        """Nothing moves meanwhile, as far as that is ours to say."""
        return nullcontext()

    def look(self) -> Look:
        """The actors as they are now."""
        with self.hold():
            stats = tuple(msgspec.structs.asdict(found) for found in self.system.statistics())
            return Look(self.system.clock.now(), stats)

    def list(self, what: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        with self.hold():
            found: list[dict[str, Any]] = self.cluster.client.list(what)
            return found

    def steer(self, command: str, seconds: float) -> None:
        """Raises: ValueError, as this one's time is everybody's."""
        raise ValueError("this cluster lives in real time; `kubekka dashboard` shows one that can be steered")

    def status(self) -> dict[str, Any]:
        """What the page shows of time."""
        return {"steerable": self.steerable, "time": self.system.clock.now()}

    def close(self) -> None:
        """Let go."""


class LiveStage(Stage):
    """A served cluster."""

    def __init__(self, cluster: Cluster) -> None:
        if cluster.tracer is None:
            raise ValueError("the cluster was started without a tracer")
        super().__init__(cluster, cluster.tracer, cluster.system)


class SimulatedStage(Stage):
    """A simulation that plays at a speed (virtual seconds per second), stands, steps or jumps."""

    steerable = True

    def __init__(self, cluster: SimulatedCluster) -> None:
        if cluster.tracer is None:
            raise ValueError("the cluster was started without a tracer")
        super().__init__(cluster, cluster.tracer, cluster.sim)
        self.sim = cluster.sim
        self.speed = 1.0
        self.playing = True
        self._lock = threading.RLock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._play, name="simulation", daemon=True)
        self._thread.start()

    def hold(self) -> AbstractContextManager[Any]:
        return self._lock

    def _play(self) -> None:
        while not self._end.wait(TICK_S):
            if self.playing:
                with self._lock:
                    self.sim.advance(TICK_S * self.speed)

    def steer(self, command: str, seconds: float) -> None:
        """`play` (at `seconds` per second), `pause`, `step` (one message), `jump` (by `seconds`).

        Raises: ValueError.
        """
        if not 0 <= seconds <= LONGEST_JUMP_S:
            raise ValueError(f"between 0 and {LONGEST_JUMP_S:.0f} seconds, not {seconds}")
        with self._lock:
            if command == "play":
                self.playing, self.speed = True, seconds or 1.0
            elif command == "pause":
                self.playing = False
            elif command == "step":
                self.playing = False
                self._step()
            elif command == "jump":
                self.sim.advance(seconds)
            else:
                raise ValueError(f"{command!r} is none of play, pause, step, jump")

    def _step(self) -> None:
        """One message that a reader is told of; time moves as far as needed."""
        last = self.story.after(0, 1)
        number = last[-1]["id"] if last else 0
        for _ in range(100_000):
            if not self.sim.step():
                self.sim.advance(0.001)
            if self.story.after(number, 1):
                return

    def status(self) -> dict[str, Any]:
        return {**super().status(), "playing": self.playing, "speed": self.speed}

    def close(self) -> None:
        self._end.set()
        self._thread.join(5.0)
