"""The pause container of a pod: the actor that holds its namespaces and reaps what ends in it.

Owns everything inside one sandbox: the containers that joined it, their processes, their logs.
It drives the generators of `_shell` by its own timers, and tells the machine's watcher (a kubelet)
when a container has ended. A container that runs for ever costs neither a process nor a timer.

The records it works on belong to the machine: when this actor is made anew it finds what runs and
takes it up again.
"""

from __future__ import annotations

from typing import Any

from actors.kernel import Actor, Future, handles
from actors.runtime import _streams
from actors.runtime._commands import COMMANDS, Kill
from actors.runtime._container import ContainerRecord, Machine, Run, SandboxRecord
from actors.runtime._files import FileError, Files, Remote, Store
from actors.runtime._logs import Log, shown
from actors.runtime._program import program
from actors.runtime._shell import Forever, Shell, Sleep, Stdin, Tick, UnknownCommand, Write
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
    ExecSyncResponse,
    PortForward,
    ReadLog,
    ReadLogResponse,
    ReadVolume,
    RemoveContainer,
    StartContainer,
    StartContainerResponse,
    StopContainer,
    UpdatePodSandbox,
)
from protocol.message import Message
from protocol.node import STDERR, STDIN, STDOUT, StreamClosed, StreamData, StreamOpened

__all__ = ["Pause", "StopAll"]

MAX_TICKS = 2_000
"""Turns of a loop without a sleep, after which a process has used up a second of CPU."""
MAX_EXEC_BYTES = 1 << 20
SIGKILLED, SIGTERMED = 137, 143
VOLUME_TIMEOUT_S = 10.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Due(Message, frozen=True):
    """A plain command's time is up."""

    container_id: str


class Resume(Message, frozen=True):
    """A process's sleep is over; `token` tells an outdated timer from a current one."""

    run_id: int
    token: int


class Deadline(Message, frozen=True):
    """A container that was asked to stop must end now."""

    container_id: str


class ExecDeadline(Message, frozen=True):
    run_id: int


class OutOfMemory(Message, frozen=True):
    container_id: str


class StopAll(Message, frozen=True):
    """Everything in the sandbox ends now, the pause process last. Asked."""


class Pause(Actor):
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
        script = annotations.get(f"kubekka.dev/on-term.{container.config.name}",
                                 annotations.get("kubekka.dev/on-term")) if annotations else None
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

    # -- processes

    def _shell(self, container: ContainerRecord, live_stdin: bool) -> Shell:
        sandbox = self.record.config
        if container.layer is None:
            container.layer = {}
        env = {"PATH": PATH, "HOSTNAME": sandbox.hostname or sandbox.name, **dict(container.config.envs), "HOME": "/root"}
        files = Files(self._base_files(), container.config.mounts, _PodStores(self.record, self.machine),
                      container.layer, container.config.readonly_rootfs)
        return Shell(env, files, COMMANDS, _Time(self), container.config.working_dir or "/",
                     sandbox.hostname or sandbox.name, live_stdin)

    def _base_files(self) -> dict[str, bytes]:
        sandbox = self.record.config
        name = sandbox.hostname or sandbox.name
        ip = self.record.ips[0] if self.record.ips else "127.0.0.1"
        lines = [f"nameserver {s}" for s in sandbox.dns_servers]
        if sandbox.dns_searches:
            lines.append("search " + " ".join(sandbox.dns_searches))
        if sandbox.dns_options:
            lines.append("options " + " ".join(sandbox.dns_options))
        hosts = f"# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{ip}\t{name}\n"
        return {"/etc/hostname": f"{name}\n".encode(), "/etc/hosts": hosts.encode(),
                "/etc/resolv.conf": ("\n".join(lines) + "\n").encode(), "/dev/null": b""}

    def _run(self, container: ContainerRecord, kind: str, shell: Shell, steps: Any) -> Run:
        run = Run(self.machine.next_run, container, kind, shell, steps)
        self.machine.next_run += 1
        if self.record.runs is None:
            self.record.runs = {}
        self.record.runs[run.id] = run
        return run

    def _forget(self, run: Run) -> None:
        if self.record.runs is not None:
            self.record.runs.pop(run.id, None)
        run.token += 1
        run.steps.close()

    def _kill_run(self, run: Run) -> None:
        self._forget(run)
        self._finished(run, SIGKILLED)

    def _drive(self, run: Run, value: Any) -> None:
        """Run a process until it waits or ends."""
        run.wake_at = None
        run.token += 1
        while True:
            try:
                effect = run.steps.send(value)
            except StopIteration as end:
                self._exited(run, int(end.value or 0))
                return
            except UnknownCommand as error:
                self._unknown(run, error)
                return
            except (FileError, RecursionError, ValueError) as error:
                self._output(run, 2, f"{error}\n".encode())
                self._exited(run, 1)
                return
            value = None
            kind = type(effect)
            if kind is Write:
                self._output(run, effect.stream, effect.data)
            elif kind is Sleep:
                run.slept = True
                if effect.seconds > 0:
                    self._sleep_run(run, effect.seconds)
                    return
            elif kind is Tick:
                run.ticks += 1
                if run.ticks > MAX_TICKS:
                    self._sleep_run(run, 1.0)
                    return
            elif kind is Remote:
                self.background(self._fetch(run, run.token, effect))
                return
            elif kind is Stdin:
                if not run.input and not run.eof:
                    run.wants_input = True
                    return
                value = bytes(run.input)
                run.input.clear()
            elif kind is Kill:
                self._signal(run.container, effect.signal)
                if run.container.state != CONTAINER_RUNNING:
                    return
            elif kind is Forever:
                run.slept = True
                return

    def _sleep_run(self, run: Run, seconds: float) -> None:
        run.ticks = 0
        run.wake_at = self.clock.monotonic() + seconds
        self.after(seconds, Resume(run.id, run.token))

    @handles(Resume)
    def resume(self, message: Resume) -> None:
        run = (self.record.runs or {}).get(message.run_id)
        if run is not None and run.token == message.token:
            self._drive(run, None)

    async def _fetch(self, run: Run, token: int, effect: Remote) -> None:
        mount = effect.mount
        run.touched = True
        content: dict[str, bytes] = {}
        try:
            content = await self.ask(mount.source, ReadVolume(self.record.config.uid, mount.volume), timeout=VOLUME_TIMEOUT_S)  # type: ignore[arg-type]
        except Exception as error:
            self.log.debug("volume_unreadable", volume=mount.volume, error=str(error))
        if run.token == token and (self.record.runs or {}).get(run.id) is run:
            self._drive(run, content)

    def _unknown(self, run: Run, error: UnknownCommand) -> None:
        """A program that is not known: a main process runs for ever, a probe succeeds, and a
        person at a terminal is told."""
        if run.kind == "main":
            return
        if run.peer is None:
            self._exited(run, 0)
            return
        text = (f'OCI runtime exec failed: exec failed: unable to start container process: exec: "{error.name}": '
                "executable file not found in $PATH: unknown\n")
        self._output(run, 2, text.encode())
        self._exited(run, 127)

    def _output(self, run: Run, stream: int, data: bytes) -> None:
        if run.output is not None:
            buffer = run.output[stream - 1]
            if len(buffer) < MAX_EXEC_BYTES:
                buffer += data[:MAX_EXEC_BYTES - len(buffer)]
        elif run.peer is not None:
            run.peer.tell(StreamData(run.stream_id, STDOUT if stream == 1 else STDERR, data))
        else:
            container = run.container
            if container.log is None:
                container.log = Log()
            now = self.clock.now()
            log = container.log
            self._logged(container, lambda: log.write(now, stream, data))

    def _logged(self, container: ContainerRecord, change: Any) -> None:
        """Change the log, and show followers the lines that this completes."""
        log = container.log
        assert log is not None
        last = log.lines[-1] if log.lines else None
        change()
        if not container.followers:
            return
        fresh = []
        for line in reversed(log.lines):
            if line is last:
                break
            fresh.append(line)
        for peer, stream_id, timestamps in container.followers:
            for line in reversed(fresh):
                peer.tell(StreamData(stream_id, STDOUT if line[1] == 1 else STDERR, shown(line, timestamps)))

    def _exited(self, run: Run, code: int) -> None:
        if self.record.runs is not None:
            self.record.runs.pop(run.id, None)
        if run.kind in ("main", "trap") and run is run.container.main:
            if run.container.state == CONTAINER_RUNNING:
                self._ended(run.container, code)
            return
        self._finished(run, code)

    def _finished(self, run: Run, code: int) -> None:
        """Answer whoever waits for a command that was executed."""
        if run.done is not None and run.output is not None and not run.done.done:
            settled = not (run.slept or run.touched or run.shell.files.used)
            run.done.resolve(ExecSyncResponse(code, bytes(run.output[0]), bytes(run.output[1]), settled))
        elif run.peer is not None:
            run.peer.tell(StreamClosed(run.stream_id, _streams.exit_status(code)))

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
            attached = run is run.container.main and any(f[1] == message.stream_id for f in run.container.followers or ())
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
        data = b"" if log is None else log.read(message.since, message.tail_lines, message.limit_bytes, message.timestamps)
        if message.peer is not None:
            if container.state == CONTAINER_EXITED:
                message.peer.tell(StreamClosed(message.stream_id))
            else:
                followers = container.followers = container.followers or []
                followers.append((message.peer, message.stream_id, message.timestamps))
        return ReadLogResponse(data)


class _Time:
    """The clock and chance that a shell sees."""

    __slots__ = ("actor",)

    def __init__(self, actor: Actor) -> None:
        self.actor = actor

    def now(self) -> float:
        return self.actor.clock.now()

    def random_number(self) -> int:
        return self.actor.random.randrange(32768)


class _PodStores(dict[str, Store]):
    """Volumes that containers fill: the pod's own (emptyDir), or the machine's (hostPath, PVC)."""

    def __init__(self, record: SandboxRecord, machine: Machine) -> None:
        super().__init__()
        self.record = record
        self.machine = machine

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The store at a host path; those below the pod's directory go with the pod."""
        if f"/pods/{self.record.config.uid}/" in key:
            if self.record.stores is None:
                self.record.stores = {}
            return self.record.stores.setdefault(key, default)
        return self.machine.stores.setdefault(key, default)
