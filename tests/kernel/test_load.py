"""How busy a dispatcher says that it is."""

from __future__ import annotations

from actors.kernel import LiveSystem, Simulation
from actors.kernel._load import WINDOW_S, Load


def test_a_dispatcher_that_always_has_mail_is_fully_loaded() -> None:
    load = Load(0.0)
    load.began(0.0)
    assert load.share(WINDOW_S) == 1.0


def test_the_load_is_the_share_of_time_with_mail() -> None:
    load = Load(0.0)
    load.began(1.0)
    load.ended(2.0)
    assert load.share(4.0) == 0.25


def test_what_was_before_the_window_does_not_count() -> None:
    load = Load(0.0)
    load.began(0.0)
    load.ended(10.0)
    assert load.share(10.0) == 1.0
    assert load.share(10.0 + WINDOW_S / 2) == 1.0  # too soon to say anything new
    assert load.share(11.0) == 0.0


def test_an_idle_system_and_a_simulated_one_are_not_busy() -> None:
    system = LiveSystem("idle").start_thread()
    try:
        assert system.load() < 0.5
    finally:
        system.shutdown()
    assert Simulation(seed=1).load() == 0.0
