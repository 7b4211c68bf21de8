"""Part of a sandbox: running the processes of its containers.

Owns the generators of `_shell`: their effects become timers, log lines, streams and questions to
whoever provides a volume. It never decides that a container starts or ends.
"""

from __future__ import annotations

from typing import Any, cast

from actors.kernel import Actor, ActorDead, AskTimeout, Ref, handles
from actors.runtime import _streams
from actors.runtime._commands import COMMANDS, Kill
from actors.runtime._commands_network import NetCall
from actors.runtime._container import ContainerRecord, Machine, Run, SandboxRecord
from actors.runtime._files import FileError, Files, Remote, Store
from actors.runtime._logs import Log, shown
from actors.runtime._shell import Forever, Shell, Sleep, Stdin, Tick, UnknownCommand, Write
from protocol.cri import CONTAINER_RUNNING, ExecSyncResponse, ReadVolume
from protocol.hosts import hosts_file
from protocol.message import Message
from protocol.node import STDERR, STDOUT, StreamClosed, StreamData
from protocol.resolv import ResolvConf

__all__ = ["SIGKILLED", "Driving", "Resume"]

MAX_TICKS = 2_000
"""Turns of a loop without a sleep, after which a process has used up a second of CPU."""
MAX_EXEC_BYTES = 1 << 20
SIGKILLED = 137
VOLUME_TIMEOUT_S = 10.0
NETWORK, NETWORK_TIMEOUT_S = "network", 10.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Resume(Message, frozen=True):
    """A process's sleep is over; `token` tells an outdated timer from a current one."""

    run_id: int
    token: int


class Driving(Actor):
    """See the module."""

    record: SandboxRecord
    machine: Machine

    def _ended(self, container: ContainerRecord, code: int, reason: str = "") -> None:
        """A container's main process is over (defined by the sandbox)."""
        raise NotImplementedError

    def _signal(self, container: ContainerRecord, signal: str) -> None:
        """Signal a container's main process (defined by the sandbox)."""
        raise NotImplementedError

    def _shell(self, container: ContainerRecord, live_stdin: bool) -> Shell:
        sandbox = self.record.config
        if container.layer is None:
            container.layer = {}
        env = {
            "PATH": PATH,
            "HOSTNAME": sandbox.hostname or sandbox.name,
            **dict(container.config.envs),
            "HOME": "/root",
        }
        files = Files(
            self._base_files(),
            container.config.mounts,
            _PodStores(self.record, self.machine),
            container.layer,
            container.config.readonly_rootfs,
        )
        shell = Shell(
            env,
            files,
            COMMANDS,
            _Time(self),
            container.config.working_dir or "/",
            sandbox.hostname or sandbox.name,
            live_stdin,
        )
        config = container.config
        shell.uid = config.run_as_user or 0
        shell.gid = config.security.run_as_group or 0
        shell.groups = config.security.supplemental_groups
        return shell

    def _base_files(self) -> dict[str, bytes]:
        sandbox = self.record.config
        name = sandbox.hostname or sandbox.name
        ips = self.record.ips or ("127.0.0.1",)
        node = "127.0.0.1\tlocalhost\n" if sandbox.host_network else None
        resolver = ResolvConf(sandbox.dns_servers, sandbox.dns_searches, sandbox.dns_options)
        short = sandbox.host_domain.partition(".")[0] if sandbox.host_domain else name
        hosts = hosts_file(ips, short, sandbox.host_domain, sandbox.host_aliases, node)
        return {
            "/etc/hostname": f"{name}\n".encode(),
            "/etc/hosts": hosts.encode(),
            "/etc/resolv.conf": resolver.text().encode(),
            "/dev/null": b"",
            **{f"/proc/sys/{k.replace('.', '/')}": f"{v}\n".encode() for k, v in sandbox.sysctls.items()},
        }

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
            elif kind is NetCall:
                self.background(self._call_network(run, run.token, effect))
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
            question = ReadVolume(self.record.config.uid, mount.volume)
            content = await self.ask(cast(Ref, mount.source), question, timeout=VOLUME_TIMEOUT_S)
        except Exception as error:
            self.log.debug("volume_unreadable", volume=mount.volume, error=str(error))
        if run.token == token and (self.record.runs or {}).get(run.id) is run:
            self._drive(run, content)

    async def _call_network(self, run: Run, token: int, effect: NetCall) -> None:
        """The network is an actor of the cluster that this machine is part of; a machine without one
        (a joined one) answers None."""
        network = self.system.lookup(NETWORK)
        run.touched = True
        answer = None
        try:
            if network is not None:
                question = effect.question(self.record.config, tuple(self.record.ips))
                answer = await self.ask(network, question, timeout=NETWORK_TIMEOUT_S)
        except (ActorDead, AskTimeout):
            answer = effect.lost  # the machine is cut off
        if run.token == token and (self.record.runs or {}).get(run.id) is run:
            self._drive(run, answer)

    def _unknown(self, run: Run, error: UnknownCommand) -> None:
        """A program that is not known: a main process runs for ever, a probe succeeds, and a
        person at a terminal is told."""
        if run.kind == "main":
            return
        if run.peer is None:
            self._exited(run, 0)
            return
        text = (
            f'OCI runtime exec failed: exec failed: unable to start container process: exec: "{error.name}": '
            "executable file not found in $PATH: unknown\n"
        )
        self._output(run, 2, text.encode())
        self._exited(run, 127)

    def _output(self, run: Run, stream: int, data: bytes) -> None:
        if run.output is not None:
            buffer = run.output[stream - 1]
            if len(buffer) < MAX_EXEC_BYTES:
                buffer += data[: MAX_EXEC_BYTES - len(buffer)]
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
