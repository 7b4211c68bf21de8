"""The controller manager: starts, supervises and, if told to, elects.

Owns which controllers run and the informers that they share. It reconciles nothing itself. Its
children are informers and the controllers that read them; each is restarted alone when it
crashes, and finds its state again in the shared stores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from actors.client import Client, ClientActor, EventRecorder, LeaderElector, SharedInformers
from actors.controllers._identity import MANAGER_USER, OwnContext, account_of
from actors.controllers._reconcile import CONTROLLER_USER, USER_AGENT, Context, Options
from actors.controllers._registry import Entry, load, selected
from actors.kernel import Actor, Child, Ref, Restart
from protocol.api import StatusError, UserInfo

__all__ = ["ControllerManager"]

ASK_AGAIN_S = 1.0


class ControllerManager(ClientActor):
    """All controllers of one process. `apiserver` is the API server actor or an HTTP transport.

    Raises `ValueError` when `options.controllers` names one that there is not.
    """

    def __init__(
        self,
        apiserver: Ref,
        options: Options | None = None,
        *,
        user: UserInfo = MANAGER_USER,
        identity: str = "",
    ) -> None:
        super().__init__()
        self.options = options or Options()
        self.user = user
        self.apiserver = apiserver
        self.entries = selected(self.options.controllers)
        if not self.options.enable_garbage_collector:
            self.entries = [entry for entry in self.entries if entry.name != "garbage-collector-controller"]
        self.client = self.make_client(self)
        self.identity = identity or f"{self.host or 'local'}_{self.random.getrandbits(64):016x}"
        self.children: list[Ref] = []
        self.elector: LeaderElector | None = None
        self.started = False

    def make_client(self, actor: Actor) -> Client:
        """A client for a child."""
        reader = CONTROLLER_USER if self.user is MANAGER_USER else self.user
        return Client(actor, self.apiserver, user=self.user, user_agent=USER_AGENT, reader=reader)

    def on_start(self) -> None:
        if not self.options.leader_elect:
            self.start_controllers()
            return
        self.elector = LeaderElector(
            self.client,
            self.options.leader_elect_resource_name,
            self.identity,
            namespace=self.options.leader_elect_resource_namespace,
            lease_duration_s=int(self.options.leader_elect_lease_duration),
            renew_deadline_s=self.options.leader_elect_renew_deadline,
            retry_s=self.options.leader_elect_retry_period,
            on_started=self.start_controllers,
            on_stopped=self.stop_controllers,
            recorder=EventRecorder(self.client, USER_AGENT),
        )
        self.elector.start()

    async def on_stop(self) -> None:  # type: ignore[override]
        if self.elector is not None:
            await self.elector.release()

    def start_controllers(self) -> None:
        """Spawn informers and controllers."""
        informers = SharedInformers(self, self.make_client)
        # Whoever led before may have asked for things that no store shows yet, as a former life may.
        restarted = self.started or self.restarts > 0 or self.elector is not None
        self.started = True
        context = Context(self.apiserver, informers, self.options, self.user, restarted)
        self.children = []
        self._start([entry for entry in self.entries if not entry.needs], context)
        self.log.info("controllers_started", controllers=len(self.entries))
        for entry in self.entries:
            if entry.needs:
                self.background(self._start_if_served(entry, context))

    def _start(self, entries: list[Entry], context: Context) -> None:
        loaded = [(entry, load(entry)) for entry in entries]
        known = {informer.ref for informer in context.informers.all()}
        for _, controller in loaded:
            for what in getattr(controller, "resources", ()):
                context.informers.of(what)
        self.children += [i.ref for i in context.informers.all() if i.ref is not None and i.ref not in known]
        for entry, controller in loaded:
            self.children.append(self._spawn(entry, controller, context))

    async def _start_if_served(self, entry: Entry, context: Context) -> None:
        """Start what needs an API that the server may not have: its version or a gate decides."""
        children = self.children
        while self.children is children:
            try:
                await self.client.list(entry.needs, limit="1")
            except StatusError as error:
                if error.code == 404:
                    self.log.info("controller_not_needed", controller=entry.name, needs=entry.needs)
                    return
                await self.sleep(ASK_AGAIN_S)
                continue
            if self.children is children:
                self._start([entry], context)
            return

    def _spawn(self, entry: Entry, controller: Any, context: Context) -> Ref:
        context = replace(context, workers=self.options.concurrent_syncs.get(entry.name, 0))
        if self.user is MANAGER_USER:
            context = OwnContext(**{**vars(context), "user": account_of(entry.name)})
        return self.spawn(
            Child(entry.name, lambda: controller(context), restart=Restart.PERMANENT)
        )

    def stop_controllers(self) -> None:
        """Another leads now: what is under way here must not go on."""
        children, self.children = self.children, []
        for child in reversed(children):
            child.stop(block=False)
