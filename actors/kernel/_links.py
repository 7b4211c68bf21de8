"""The network between simulated hosts.

Messages (and answers) between actors of one host arrive at once. Between two hosts they pass a
link that may delay them, drop them or be cut, each direction by itself. A link keeps the order of
what it delivers, and delivers nothing twice unless it is told to.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Link", "Links"]


@dataclass(frozen=True, slots=True)
class Link:
    """What one direction between two hosts does to a message. Delays in seconds, `drop` a
    probability."""

    delay_min_s: float = 0.0
    delay_max_s: float = 0.0
    drop: float = 0.0
    cut: bool = False
    duplicate: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.delay_min_s <= self.delay_max_s:
            raise ValueError("a link's delays are 0 <= delay_min_s <= delay_max_s")
        if not (0.0 <= self.drop <= 1.0 and 0.0 <= self.duplicate <= 1.0):
            raise ValueError("a link's drop and duplicate are probabilities")


PERFECT = Link()


class Links:
    """All links of a simulation. Hosts that were never named are joined by perfect links."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._links: dict[tuple[str, str], Link] = {}
        self._isolated: set[str] = set()
        self._last_arrival: dict[tuple[str, str], float] = {}
        self.dropped = 0  # messages that were lost by chance, so far
        self.duplicated = 0

    def set(self, a: str, b: str, link: Link) -> None:
        """Both directions between `a` and `b` behave as `link`."""
        self._links[a, b] = link
        self._links[b, a] = link

    def set_one_way(self, source: str, target: str, link: Link) -> None:
        """Only messages from `source` to `target` behave as `link`."""
        self._links[source, target] = link

    def isolate(self, host: str) -> None:
        """Cut `host` off from all others."""
        self._isolated.add(host)

    def mend(self, a: str, b: str) -> None:
        """The link between `a` and `b` is perfect again."""
        self._links.pop((a, b), None)
        self._links.pop((b, a), None)

    def rejoin(self, host: str) -> None:
        """`host` is no longer cut off from all others."""
        self._isolated.discard(host)

    def heal(self) -> None:
        """All links are perfect again; what was dropped stays lost."""
        self._links.clear()
        self._isolated.clear()

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing passes from `source` to `target`."""
        if source == target:
            return False
        if source in self._isolated or target in self._isolated:
            return True
        return self._links.get((source, target), PERFECT).cut

    def pass_on(
        self,
        source: str,
        target: str,
        now: float,
        deliver: Callable[[], Any],
        later: Callable[[float, Callable[[], Any]], Any],
    ) -> bool:
        """Take one message from `source` to `target`: call `deliver()` now or by
        `later(delay_s, deliver)`. Answers False when the message is lost."""
        if source == target or not (self._links or self._isolated or self._last_arrival):
            deliver()
            return True
        if self.is_cut(source, target):
            return False
        link = self._links.get((source, target), PERFECT)
        if link.drop and self._rng.random() < link.drop:
            self.dropped += 1
            return False
        if link.duplicate and self._rng.random() < link.duplicate:
            self.duplicated += 1
            once = deliver

            def deliver() -> None:
                once()
                once()

        arrival = now
        if link.delay_max_s:
            arrival += self._rng.uniform(link.delay_min_s, link.delay_max_s)
        arrival = max(arrival, self._last_arrival.get((source, target), now))
        if arrival <= now:
            deliver()
        else:
            self._last_arrival[source, target] = arrival
            later(arrival - now, deliver)
        return True
