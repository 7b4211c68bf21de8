"""The API for code that is no actor: tests, the command line, notebooks.

`OutsideClient` has the methods of `Client` without the `await`; they run in a `Desk` actor and
wait there. It keeps no objects. Must never be used from inside an actor.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from actors.client._client import Client, ClientActor
from actors.client._informer import Informer
from actors.kernel import ActorDead, ActorSystem, AskTimeout, Child, Future, Ref, Restart, handles
from protocol.api import ADMIN, Resource, UserInfo
from protocol.message import Message
from protocol.objects import Object, mutable

Objects = list[Object]

__all__ = ["Desk", "OutsideClient", "WaitTimeout"]


class WaitTimeout(TimeoutError):
    """What was waited for did not come true in time; the text shows the last state seen."""


class _Do(Message, frozen=True):
    """Run `work(client)` in the desk and answer with what it returns."""

    work: Callable[[Client], Coroutine[Any, Any, Any]]


class Desk(ClientActor):
    """Carries out what is asked from outside, each request as a task of its own."""

    def __init__(self, apiserver: Ref, user: UserInfo = ADMIN, user_agent: str = "kubekka") -> None:
        super().__init__()
        self.client = Client(self, apiserver, user=user, user_agent=user_agent)

    @handles(_Do)
    async def do(self, message: _Do) -> Any:
        return await message.work(self.client)


class OutsideClient:
    """`get`, `list`, `create`, ... as plain blocking calls. Objects that come back are the
    caller's own copies. All raise `StatusError`."""

    def __init__(
        self,
        system: ActorSystem,
        apiserver: Ref,
        *,
        name: str = "desk",
        user: UserInfo = ADMIN,
        user_agent: str = "kubekka",
        timeout_s: float = 60.0,
    ) -> None:
        self._system = system
        self._timeout_s = timeout_s
        spec = Child(name, lambda: Desk(apiserver, user, user_agent), restart=Restart.PERMANENT)
        self._desk = system.spawn(spec)

    def run(self, work: Callable[[Client], Coroutine[Any, Any, Any]], timeout_s: float | None = None) -> Any:
        """Run `work(client)`, a coroutine function of the async client, and wait for its result.

        Raises: what it raises; RuntimeError when the system has failed.
        """
        try:
            return mutable(self._desk.ask(_Do(work), timeout=timeout_s or self._timeout_s))
        except ActorDead:
            if self._system.failure is None:
                raise
            raise RuntimeError(f"the cluster has failed: {self._system.failure}") from self._system.failure

    def get(self, what: str | Resource, name: str, namespace: str = "", **options: str) -> Object:
        """One object."""
        found: Object = self.run(lambda c: c.get(what, name, namespace, **options))
        return found

    def list(
        self,
        what: str | Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        **options: str,
    ) -> Objects:
        """The objects of a kind, of all namespaces if none is given."""
        answer = self.run(
            lambda c: c.list(what, namespace, label_selector=label_selector, field_selector=field_selector, **options)
        )
        return list(answer.get("items") or ())

    def create(self, what: str | Resource, obj: Object, namespace: str = "", **options: str) -> Object:
        """Create an object."""
        made: Object = self.run(lambda c: c.create(what, obj, namespace, **options))
        return made

    def update(self, what: str | Resource, obj: Object, *, subresource: str = "", **options: str) -> Object:
        """Replace an object."""
        new: Object = self.run(lambda c: c.update(what, obj, subresource=subresource, **options))
        return new

    def update_status(self, what: str | Resource, obj: Object) -> Object:
        """Replace an object's status."""
        return self.update(what, obj, subresource="status")

    def patch(self, what: str | Resource, name: str, namespace: str, body: Any, **options: Any) -> Object:
        """Patch an object; by default with a JSON merge patch."""
        new: Object = self.run(lambda c: c.patch(what, name, namespace, body, **options))
        return new

    def apply(self, what: str | Resource, obj: Object, *, field_manager: str = "kubekka", force: bool = True) -> Object:
        """Server-side apply."""
        new: Object = self.run(lambda c: c.apply(what, obj, field_manager=field_manager, force=force))
        return new

    def delete(self, what: str | Resource, name: str, namespace: str = "", **options: Any) -> Object:
        """Delete an object."""
        gone: Object = self.run(lambda c: c.delete(what, name, namespace, **options))
        return gone

    def delete_collection(self, what: str | Resource, namespace: str = "", **options: str) -> Object:
        """Delete all that the options select."""
        answer: Object = self.run(lambda c: c.delete_collection(what, namespace, None, **options))
        return answer

    def wait(
        self,
        what: str | Resource,
        until: Callable[[Objects], bool],
        *,
        namespace: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_s: float = 30.0,
    ) -> Objects:
        """Watch the selected objects until `until(objects)` is true; answers them.

        Raises: `WaitTimeout` after `timeout_s` seconds of the system's clock.
        """

        async def work(client: Client) -> Objects:
            reached: Future[Objects] = Future()
            failure: list[Exception] = []

            def look(_: Any = None) -> None:
                if reached.done:
                    return
                try:
                    if until(sorted(informer.store, key=_name)):
                        reached.resolve(sorted(informer.store, key=_name))
                except Exception as error:  # the caller's condition failed: tell the caller
                    failure.append(error)
                    reached.resolve([])

            informer = Informer(
                client,
                what,
                namespace=namespace,
                label_selector=label_selector,
                field_selector=field_selector,
                on_batch=look,
            )
            expiry = client.actor.system.after(timeout_s, lambda: reached.fail(AskTimeout("not in time")))
            informer.start()
            client.actor.background(_look_when_synced(informer, look))
            try:
                found = await reached
            except AskTimeout:
                seen = [_summary(o) for o in sorted(informer.store, key=_name)[:10]]
                raise WaitTimeout(f"{what}: not within {timeout_s:g} s; last seen: {seen}") from None
            finally:
                expiry.cancel()
                informer.stop()
            if failure:
                raise failure[0]
            return found

        answer: Objects = self.run(work, timeout_s + self._timeout_s)
        return answer


async def _look_when_synced(informer: Informer, look: Callable[[], None]) -> None:
    """An empty list has no changes to call a handler for, yet may be what is waited for."""
    await informer.synced()
    look()


def _name(obj: Object) -> tuple[str, str]:
    meta = obj["metadata"]
    return (meta.get("namespace", ""), meta["name"])


def _summary(obj: Object) -> Object:
    status = {k: v for k, v in (obj.get("status") or {}).items() if k not in ("containerStatuses", "managedFields")}
    return {"name": obj["metadata"]["name"], "status": status}
