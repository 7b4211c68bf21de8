"""Futures: Pykka's contract, callbacks and threads."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Any

import pykka
import pytest

from actors.kernel import Actor, Child, Future, LiveSystem


def test_a_future_is_set_once() -> None:
    future: Future[int] = Future()
    future.set(1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception(ValueError())
    assert future.get() == 1


def test_get_times_out_when_nobody_answers() -> None:
    with pytest.raises(pykka.Timeout):
        Future().get(timeout=0.01)


def test_set_exception_without_argument_takes_the_one_being_handled() -> None:
    future: Future[int] = Future()
    try:
        raise KeyError("k")
    except KeyError:
        future.set_exception()
    with pytest.raises(KeyError):
        future.get()


def test_pykkas_combinators_work() -> None:
    first, second = Future[int](), Future[int]()
    joined = first.join(second).map(sum)
    first.set(1)
    second.set(2)
    assert joined.get() == 3
    listed: Future[list[int]] = Future()
    listed.set([1, 2, 3])
    assert listed.filter(lambda n: n > 1).get() == [2, 3]
    assert listed.reduce(lambda a, b: a + b).get() == 6


def test_every_callback_runs_once_however_threads_race() -> None:
    for _ in range(200):
        future: Future[int] = Future()
        calls: list[int] = []
        gate = threading.Barrier(3)

        def add(future: Future[int] = future, gate: threading.Barrier = gate, calls: list[int] = calls) -> None:
            gate.wait()
            for n in range(20):
                future.add_callback(lambda _, n=n: calls.append(n))

        threads = [threading.Thread(target=add) for _ in range(2)]
        for thread in threads:
            thread.start()
        gate.wait()
        future.set(1)
        for thread in threads:
            thread.join()
        assert sorted(calls) == sorted(list(range(20)) * 2)


def test_an_asyncio_task_can_await_an_actor(live: LiveSystem) -> None:
    class Echo(Actor):
        def on_receive(self, message: Any) -> Any:
            return message

    ref = live.spawn(Child("echo", Echo))

    async def talk() -> str:
        answer: str = await ref.ask("hello", block=False).asyncio()
        return answer

    assert asyncio.run_coroutine_threadsafe(talk(), live.loop).result(5) == "hello"
