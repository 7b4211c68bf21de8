"""The pause container of a pod: the actor that holds its namespaces and reaps what ends in it.

Owns everything inside one sandbox: the containers that joined it, their processes, their logs.
It drives the generators of `_shell` by its own timers, and tells the machine's watcher (a kubelet)
when a container has ended. A container that runs for ever costs neither a process nor a timer.

The records it works on belong to the machine: when this actor is made anew it finds what runs and
takes it up again.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import Future, handles
from actors.runtime import _streams
from actors.runtime._container import ContainerRecord, Machine, SandboxRecord
from actors.runtime._driving import SIGKILLED, Driving, Resume
from actors.runtime._program import program
from actors.runtime._shell import Shell
from actors.runtime._usage import oom_age_s, schedule
from protocol.cri import (
    CONTAINER_CREATED,
    CONTAINER_EXITED,
    CONTAINER_RUNNING,
    Attach,
    ContainerEvent,
    CriError,
    Exec,
    ExecSync,
    PortForward,
    ReadLog,
    ReadLogResponse,
    RemoveContainer,
    StartContainer,
    StartContainerResponse,
    StopContainer,
    UpdatePodSandbox,
)
from protocol.message import Message
from protocol.node import STDIN, StreamClosed, StreamData, StreamOpened

__all__ = ["Pause", "StopAll"]


class Due(Message, frozen=True):
    """A plain command's time is up."""

    container_id: str


class Deadline(Message, frozen=True):
    """A container that was asked to stop must end now."""

    container_id: str


class ExecDeadline(Message, frozen=True):
    run_id: int


class OutOfMemory(Message, frozen=True):
    container_id: str


class StopAll(Message, frozen=True):
    """Everything in the sandbox ends now, the pause process last. Asked."""


class Pause(Driving):
    """One sandbox."""

    def __init__(self, record: SandboxRecord, machine: Machine) -> None:
        super().__init__()
        self.record = record
        self.machine = machine
        self.awaiting_end: dict[str, list[Future[None]]] | None = None

    def on_start(self) -> None:
        """Take up what runs: nothing at the sandbox's start, all of it after a crash."""
        for container in self.record.containers.values():
            if container.state == CONTAINER_RUNNING:
                self._arm(container)
        for run in list((self.record.runs or {}).values()):
            if run.kind == "exec":
                self._forget(run)
            elif run.wake_at is not None:
                run.token += 1
                self.after(max(0.0, run.wake_at - self.clock.monotonic()), Resume(run.id, run.token))

    def _container(self, ident: str) -> ContainerRecord:
        container = self.record.containers.get(ident)
        if container is None:
            raise CriError("NotFound", f'container "{ident}": not found')
        return container

    # -- the life of a container

    @handles(StartContainer)
    def start_container(self, message: StartContainer) -> StartContainerResponse:
        container = self._container(message.container_id)
        if container.state != CONTAINER_CREATED:
            raise CriError("FailedPrecondition", f"container is in {container.state} state")
        if not self.record.ready:
            raise CriError("FailedPrecondition", f'sandbox container "{self.record.id}" is not running')
        container.state = CONTAINER_RUNNING
        container.started_at = self.clock.now()
        container.pid = self.machine.pid()
        self._launch(container)
        return StartContainerResponse(container.started_at)

    def _script(self, container: ContainerRecord) -> str | None:
        annotations = self.record.annotations
        if not annotations:
            return None
        return annotations.get(f"kubekka.dev/run.{container.config.name}", annotations.get("kubekka.dev/run"))

    def _launch(self, container: ContainerRecord) -> None:
        config = container.config
        argv = config.command + config.args
        script = self._script(container)
        if script is not None:
            argv = ("sh", "-c", script)
        plan = program(argv)
        now = self.clock.monotonic()
        annotations = self.record.annotations
        if annotations and config.resources.memory_limit_bytes:
            age = oom_age_s(schedule(annotations, "memory", config.name), config.resources)
            container.oom_at = None if age is None else now + age
        if plan is not None:
            container.end_code = plan.exit_code
            container.end_at = None if plan.seconds == float("inf") else now + plan.seconds
            self._arm(container)
            return
        self._arm(container)
        shell = self._shell(container, config.stdin)
        run = self._run(container, "main", shell, shell.main(argv))
        container.main = run
        self._drive(run, None)

    def _arm(self, container: ContainerRecord) -> None:
        now = self.clock.monotonic()
        if container.end_at is not None:
            self.after(max(0.0, container.end_at - now), Due(container.id))
        if container.oom_at is not None:
            self.after(max(0.0, container.oom_at - now), OutOfMemory(container.id))

    @handles(Due)
    def due(self, message: Due) -> None:
        container = self.record.containers.get(message.container_id)
        if container is not None and container.state == CONTAINER_RUNNING:
            self._ended(container, container.end_code)

    @handles(OutOfMemory)
    def out_of_memory(self, message: OutOfMemory) -> None:
        container = self.record.containers.get(message.container_id)
        if container is not None and container.state == CONTAINER_RUNNING:
            self._ended(container, SIGKILLED, "OOMKilled")

    def _ended(self, container: ContainerRecord, code: int, reason: str = "") -> None:
        container.state = CONTAINER_EXITED
        container.finished_at = self.clock.now()
        container.exit_code = code
        container.reason = reason or ("Completed" if code == 0 else "Error")
        container.end_at = container.oom_at = None
        container.main = None
        if container.log is not None:
            self._logged(container, container.log.close)
        container.message = self._termination_message(container)
        for run in [r for r in (self.record.runs or {}).values() if r.container is container]:
            self._kill_run(run)
        for peer, stream_id, _ in container.followers or ():
            peer.tell(StreamClosed(stream_id))
        container.followers = None
        for future in (self.awaiting_end or {}).pop(container.id, ()):
            future.resolve(None)
        if self.machine.watcher is not None:
            self.machine.watcher.tell(ContainerEvent(container.status()))

    def _termination_message(self, container: ContainerRecord) -> str:
        config = container.config
        written = (container.layer or {}).get(config.termination_message_path)
        if written:
            return written[:4096].decode(errors="replace")
        if config.termination_message_policy == "FallbackToLogsOnError" and container.exit_code and container.log:
            return container.log.read(tail_lines=80)[-2048:].decode(errors="replace")
        return ""

    @handles(StopContainer)
    def stop_container(self, message: StopContainer) -> Future[None] | None:
        container = self._container(message.container_id)
        if container.state != CONTAINER_RUNNING:
            if container.state == CONTAINER_CREATED:
                self._ended(container, SIGKILLED)
            return None
        future: Future[None] = Future()
        if self.awaiting_end is None:
            self.awaiting_end = {}
        waiting = self.awaiting_end.setdefault(container.id, [])
        waiting.append(future)
        if message.timeout_s <= 0:
            self._ended(container, SIGKILLED)
        elif len(waiting) == 1:
            self.after(message.timeout_s, Deadline(container.id))
            self._signal(container, "TERM")
        else:
            self.after(message.timeout_s, Deadline(container.id))
        return future

    @handles(Deadline)
    def deadline(self, message: Deadline) -> None:
        container = self.record.containers.get(message.container_id)
        if container is not None and container.state == CONTAINER_RUNNING:
            self._ended(container, SIGKILLED)

    def _signal(self, container: ContainerRecord, signal: str) -> None:
        """TERM runs what the container has for it: the annotation's script or its shell's trap.
        Without either the process ends at once, which a real one would do with code 143 or, as
        number 1 of its namespace, not before SIGKILL."""
        if signal == "KILL":
            self._ended(container, SIGKILLED)
            return
        annotations = self.record.annotations
        script = (
            annotations.get(f"kubekka.dev/on-term.{container.config.name}", annotations.get("kubekka.dev/on-term"))
            if annotations
            else None
        )
        if script == "ignore":
            return
        main = container.main
        if script is not None and signal == "TERM":
            shell = self._shell(container, False)
            self._replace_main(container, shell, shell.main(("sh", "-c", script)))
        elif main is not None and signal in main.shell.traps:
            self._replace_main(container, main.shell, main.shell.trap(signal))
        else:
            self._ended(container, SIGKILLED)

    def _replace_main(self, container: ContainerRecord, shell: Shell, steps: Any) -> None:
        if container.main is not None:
            self._forget(container.main)
        container.end_at = None
        run = container.main = self._run(container, "trap", shell, steps)
        self._drive(run, None)

    @handles(RemoveContainer)
    def remove_container(self, message: RemoveContainer) -> None:
        container = self.record.containers.get(message.container_id)
        if container is None:
            return
        if container.state == CONTAINER_RUNNING:
            self._ended(container, SIGKILLED)
        del self.record.containers[container.id]

    @handles(StopAll)
    def stop_all(self, message: StopAll) -> None:
        for container in list(self.record.containers.values()):
            if container.state == CONTAINER_RUNNING:
                self._ended(container, SIGKILLED)
        self.record.ready = False

    @handles(UpdatePodSandbox)
    def update(self, message: UpdatePodSandbox) -> None:
        """New annotations; a changed `kubekka.dev/crash` ends the containers with that code."""
        before, self.record.annotations = self.record.annotations, message.annotations
        crash = message.annotations.get("kubekka.dev/crash")
        if crash and crash != before.get("kubekka.dev/crash"):
            code, _, name = crash.partition("@")[0].partition(" ")
            for container in list(self.record.containers.values()):
                if container.state == CONTAINER_RUNNING and name in ("", container.config.name):
                    oom = code == "oom"
                    exit_code = SIGKILLED if oom else int(code) & 0xFF if code.isdigit() else 1
                    self._ended(container, exit_code, "OOMKilled" if oom else "")

    # -- commands from outside

    def _running(self, ident: str) -> ContainerRecord:
        container = self._container(ident)
        if container.state != CONTAINER_RUNNING:
            raise CriError("Unknown", f"container not running ({ident})")
        return container

    @handles(ExecSync)
    def exec_sync(self, message: ExecSync) -> Any:
        container = self._running(message.container_id)
        shell = self._shell(container, False)
        run = self._run(container, "exec", shell, shell.main(message.command))
        run.output = (bytearray(), bytearray())
        run.done = Future()
        self._drive(run, None)
        if not run.done.done and message.timeout_s > 0:
            self.after(message.timeout_s, ExecDeadline(run.id))
        return run.done

    @handles(ExecDeadline)
    def exec_deadline(self, message: ExecDeadline) -> None:
        run = (self.record.runs or {}).get(message.run_id)
        if run is not None:
            self._forget(run)
            run.done.fail(CriError("DeadlineExceeded", "command timed out"))

    @handles(Exec)
    def exec(self, message: Exec) -> StreamOpened:
        container = self._running(message.container_id)
        shell = self._shell(container, message.stdin)
        run = self._run(container, "exec", shell, shell.main(message.command))
        run.peer, run.stream_id = message.peer, message.stream_id
        self._drive(run, None)
        return StreamOpened(message.stream_id, self.ref)

    @handles(Attach)
    def attach(self, message: Attach) -> StreamOpened:
        container = self._running(message.container_id)
        followers = container.followers = container.followers or []
        followers.append((message.peer, message.stream_id, False))
        return StreamOpened(message.stream_id, self.ref)

    @handles(PortForward)
    def port_forward(self, message: PortForward) -> StreamOpened:
        child = _streams.forward_child(message, self.record)
        return StreamOpened(message.stream_id, self.spawn(child))

    @handles(StreamData)
    def stream_data(self, message: StreamData) -> None:
        if message.channel != STDIN:
            return
        for run in list((self.record.runs or {}).values()):
            attached = run is run.container.main and any(
                f[1] == message.stream_id for f in run.container.followers or ()
            )
            if attached or (run.peer is not None and run.stream_id == message.stream_id):
                run.input += message.data
                run.eof = run.eof or message.eof
                if run.wants_input:
                    run.wants_input = False
                    data = bytes(run.input)
                    run.input.clear()
                    self._drive(run, data)

    @handles(StreamClosed)
    def stream_closed(self, message: StreamClosed) -> None:
        for run in list((self.record.runs or {}).values()):
            if run.peer is not None and run.stream_id == message.stream_id:
                self._forget(run)
        for container in self.record.containers.values():
            if container.followers:
                container.followers = [f for f in container.followers if f[1] != message.stream_id]

    @handles(ReadLog)
    def read_log(self, message: ReadLog) -> ReadLogResponse:
        container = self._container(message.container_id)
        log = container.log
        data = (
            b"" if log is None else log.read(message.since, message.tail_lines, message.limit_bytes, message.timestamps)
        )
        if message.peer is not None:
            if container.state == CONTAINER_EXITED:
                message.peer.tell(StreamClosed(message.stream_id))
            else:
                followers = container.followers = container.followers or []
                followers.append((message.peer, message.stream_id, message.timestamps))
        return ReadLogResponse(data)
