"""Runs the trees of `_shell_syntax`: a small POSIX shell as a generator.

A run yields effects and is resumed with their results, so it owns no time, no actor and no real
file: `Sleep` (resumed when the time has passed), `Write` (output of the process), `Stdin` (resumed
with bytes, empty at the end), `Tick` (once per turn of a loop, so that a driver can bound a run
that never sleeps), `Forever`, and `_files.Remote`. What it returns is the exit code.

A command that is not known here raises `UnknownCommand`; the driver decides what that means. Jobs
in the background (`&`) run when the script waits for them. The parts of a pipeline run one after
the other.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import Any

from actors.runtime._arithmetic import evaluate
from actors.runtime._files import FileError, Files, normal
from actors.runtime._shell_syntax import parse
from actors.runtime._shell_tree import (
    AndOr,
    Arith,
    Command,
    For,
    Group,
    If,
    Lit,
    Loop,
    Node,
    Pipeline,
    Redirect,
    Sequence,
    ShellSyntaxError,
    Var,
    Word,
)

__all__ = ["Forever", "Io", "Shell", "Sleep", "Stdin", "Tick", "UnknownCommand", "Write", "emit"]

MAX_VALUE_CHARS = 65_536
Steps = Generator[Any, Any, int]


class Sleep:
    """Nothing happens for `seconds`."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Write:
    """Output of the process on stream 1 or 2."""

    __slots__ = ("data", "stream")

    def __init__(self, stream: int, data: bytes) -> None:
        self.stream = stream
        self.data = data


class Stdin:
    """Wants input; resumed with bytes, empty at the end."""

    __slots__ = ()


class Tick:
    """One turn of a loop."""

    __slots__ = ()


class Forever:
    """Never goes on by itself."""

    __slots__ = ()


class UnknownCommand(Exception):
    """The simulation does not know what this program does."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: not found")
        self.name = name


class ExitShell(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class LoopControl(Exception):
    def __init__(self, go_on: bool) -> None:
        self.go_on = go_on


class FileTarget:
    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path


Target = int | bytearray | FileTarget | None


class Io:
    """Where a command reads and writes. `stdin`: bytes, or None for the process's own."""

    __slots__ = ("stderr", "stdin", "stdout")

    def __init__(self, stdin: bytes | None = None, stdout: Target = 1, stderr: Target = 2) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr


def emit(shell: Shell, target: Target, data: bytes | str) -> Generator[Any, Any, None]:
    """Write to where a command's output goes."""
    raw = data.encode() if isinstance(data, str) else data
    if isinstance(target, bytearray):
        if len(target) < MAX_VALUE_CHARS * 16:
            target += raw
    elif isinstance(target, FileTarget):
        yield from shell.files.write(target.path, raw, append=True)
    elif target is not None:
        yield Write(target, raw)


class Shell:
    """The state of one shell process."""

    def __init__(
        self,
        env: dict[str, str],
        files: Files,
        commands: dict[str, Any],
        clock: Any,
        cwd: str = "/",
        hostname: str = "",
        live_stdin: bool = False,
    ) -> None:
        self.env = env
        self.files = files
        self.commands = commands
        self.clock = clock
        self.cwd = cwd or "/"
        self.hostname = hostname
        self.live_stdin = live_stdin
        self.uid = self.gid = 0
        self.groups: tuple[int, ...] = ()
        self.status = 0
        self.arguments: tuple[str, ...] = ()
        self.traps: dict[str, str] = {}
        self.jobs: list[Node] = []
        self.exit_on_error = False

    # -- whole runs

    def main(self, argv: tuple[str, ...]) -> Steps:
        """A process whose command line is `argv`; returns its exit code."""
        try:
            return (yield from self.invoke(list(argv), Io()))
        except ExitShell as end:
            return end.code

    def script(self, text: str, io: Io) -> Steps:
        """What `sh -c text` does, in this shell."""
        try:
            node = parse(text)
        except ShellSyntaxError as error:
            raise UnknownCommand(f"sh: {error}") from error
        code = yield from self.run(node, io)
        return code

    def trap(self, name: str) -> Steps:
        """Run what was set for a signal, as `trap` without an `exit` would return from it."""
        try:
            return (yield from self.script(self.traps[name], Io()))
        except ExitShell as end:
            return end.code

    def invoke(self, argv: list[str], io: Io) -> Steps:
        """Run one command with its expanded words."""
        if not argv:
            return 0
        name = argv[0].rsplit("/", 1)[-1] if argv[0].startswith("/") else argv[0]
        command = self.commands.get(name)
        if command is None:
            raise UnknownCommand(argv[0])
        try:
            code: int = yield from command(self, argv, io)
        except FileError as error:
            yield from emit(self, io.stderr, f"{name}: {error}\n")
            code = 1
        return code

    # -- the tree

    def run(self, node: Node, io: Io) -> Steps:
        """Run a tree; returns its exit status."""
        method: Any = self.METHODS[type(node)]
        code: int = yield from method(self, node, io)
        self.status = code
        return code

    def _sequence(self, node: Sequence, io: Io) -> Steps:
        code = 0
        for item, background in node.items:
            if background:
                self.jobs.append(item)
                code = 0
            else:
                code = yield from self.run(item, io)
                if code and self.exit_on_error and not isinstance(item, (AndOr, If, Loop)):
                    raise ExitShell(code)
        return code

    def _and_or(self, node: AndOr, io: Io) -> Steps:
        code = yield from self.run(node.first, io)
        for op, item in node.rest:
            if (code == 0) == (op == "&&"):
                code = yield from self.run(item, io)
        return code

    def _pipeline(self, node: Pipeline, io: Io) -> Steps:
        stdin, code = io.stdin, 0
        for position, item in enumerate(node.commands):
            if position == len(node.commands) - 1:
                code = yield from self.run(item, Io(stdin, io.stdout, io.stderr))
            else:
                piped = bytearray()
                yield from self.run(item, Io(stdin, piped, io.stderr))
                stdin = bytes(piped)
        return int(code == 0) if node.negated else code

    def _if(self, node: If, io: Io) -> Steps:
        io = yield from self._redirected(node.redirects, io)
        for condition, body in node.branches:
            if (yield from self.run(condition, io)) == 0:
                return (yield from self.run(body, io))
        return (yield from self.run(node.otherwise, io)) if node.otherwise is not None else 0

    def _loop(self, node: Loop, io: Io) -> Steps:
        io = yield from self._redirected(node.redirects, io)
        code = 0
        while True:
            yield Tick()
            try:
                met = (yield from self.run(node.condition, io)) == 0
                if met == node.until:
                    return code
                code = yield from self.run(node.body, io)
            except LoopControl as control:
                if not control.go_on:
                    return 0

    def _for(self, node: For, io: Io) -> Steps:
        io = yield from self._redirected(node.redirects, io)
        values = (yield from self.expand_all(node.words)) if node.words else list(self.arguments)
        code = 0
        for value in values:
            yield Tick()
            self.env[node.name] = value
            try:
                code = yield from self.run(node.body, io)
            except LoopControl as control:
                if not control.go_on:
                    return 0
        return code

    def _group(self, node: Group, io: Io) -> Steps:
        io = yield from self._redirected(node.redirects, io)
        if not node.subshell:
            return (yield from self.run(node.body, io))
        outer_env, outer_cwd = self.env, self.cwd
        self.env = dict(outer_env)
        try:
            return (yield from self.run(node.body, io))
        except ExitShell as end:
            return end.code
        finally:
            self.env, self.cwd = outer_env, outer_cwd

    def _command(self, node: Command, io: Io) -> Steps:
        argv = yield from self.expand_all(node.words)
        values = []
        for name, word in node.assignments:
            values.append((name, (yield from self.expand(word))))
        try:
            io = yield from self._redirected(node.redirects, io)
        except FileError as error:
            yield from emit(self, io.stderr, f"sh: {error}\n")
            return 1
        if not argv:
            self.env.update(values)
            return 0
        saved = {name: self.env.get(name) for name, _ in values}
        self.env.update(values)
        try:
            return (yield from self.invoke(argv, io))
        finally:
            for name, old in saved.items():
                if old is None:
                    self.env.pop(name, None)
                else:
                    self.env[name] = old

    METHODS = {
        Sequence: _sequence,
        AndOr: _and_or,
        Pipeline: _pipeline,
        If: _if,
        Loop: _loop,
        For: _for,
        Group: _group,
        Command: _command,
    }

    def _redirected(self, redirects: tuple[Redirect, ...], io: Io) -> Generator[Any, Any, Io]:
        if not redirects:
            return io
        io = Io(io.stdin, io.stdout, io.stderr)
        for redirect in redirects:
            name = yield from self.expand(redirect.target)
            try:
                target = yield from self._redirect(redirect, name, io)
            except FileError as error:
                raise FileError(f"can't {'open' if redirect.op == '<' else 'create'} {name}: {error}") from None
            if redirect.op == "<":
                continue
            if redirect.fd == 2:
                io.stderr = target
            else:
                io.stdout = target
        return io

    def _redirect(self, redirect: Redirect, name: str, io: Io) -> Generator[Any, Any, Target]:
        """Where output goes from now on; input is read at once."""
        if redirect.op == "<":
            io.stdin = b"" if name == "/dev/null" else (yield from self.files.read(normal(name, self.cwd)))
            return None
        if redirect.op == ">&":
            return io.stdout if name == "1" else io.stderr if name == "2" else None
        return (yield from self._file_target(name, redirect.op == ">"))

    def _file_target(self, name: str, truncate: bool) -> Generator[Any, Any, Target]:
        special: dict[str, Target] = {
            "/dev/null": None,
            "/dev/stdout": 1,
            "/dev/stderr": 2,
            "/proc/1/fd/1": 1,
            "/proc/1/fd/2": 2,
        }
        if name in special:
            return special[name]
        path = normal(name, self.cwd)
        if truncate or not (yield from self.files.exists(path)):
            yield from self.files.write(path, b"")
        return FileTarget(path)

    # -- expansion

    def expand_all(self, words: tuple[Word, ...]) -> Generator[Any, Any, list[str]]:
        """The fields that words become: unquoted expansions are split at white space."""
        fields: list[str] = []
        for word in words:
            current = ""
            pending = False
            for part in word:
                text = yield from self._part(part)
                if isinstance(part, Lit) or part.quoted:
                    if isinstance(part, Var) and part.name == "@" and part.quoted:
                        fields.extend(self.arguments[:-1])
                        text = self.arguments[-1] if self.arguments else ""
                        pending = pending or bool(self.arguments)
                    else:
                        pending = True
                    current += text
                    continue
                pieces = text.split()
                if not pieces:
                    continue
                if text[0].isspace() and pending:
                    fields.append(current)
                    current = ""
                fields.extend([current + pieces[0], *pieces[1:-1]] if len(pieces) > 1 else [])
                current = pieces[-1] if len(pieces) > 1 else current + pieces[0]
                pending = True
            if pending:
                fields.append(current)
        return fields

    def expand(self, word: Word) -> Generator[Any, Any, str]:
        """One word without splitting."""
        text = ""
        for part in word:
            text += yield from self._part(part)
        return text[:MAX_VALUE_CHARS]

    def _part(self, part: Any) -> Generator[Any, Any, str]:
        if isinstance(part, Lit):
            return part.text
        if isinstance(part, Var):
            return (yield from self._variable(part))
        if isinstance(part, Arith):
            return str(self._arithmetic(part.expression))
        captured = bytearray()
        outer = dict(self.env)
        try:
            self.status = yield from self.run(part.body, Io(None, captured, 2))
        except ExitShell as end:
            self.status = end.code
        self.env = outer
        return captured.decode(errors="replace").rstrip("\n")

    def lookup(self, name: str) -> str | None:
        if name == "?":
            return str(self.status)
        if name == "$":
            return "1"
        if name == "#":
            return str(len(self.arguments))
        if name in ("@", "*"):
            return " ".join(self.arguments)
        if name.isdigit():
            index = int(name)
            return "sh" if index == 0 else self.arguments[index - 1] if index <= len(self.arguments) else None
        if name == "RANDOM":
            return str(self.clock.random_number())
        return self.env.get(name)

    def _variable(self, part: Var) -> Generator[Any, Any, str]:
        value = self.lookup(part.name)
        op = part.op
        if not op:
            return value or ""
        if op == "#" and not part.arg:
            return str(len(value or ""))
        if op in ("%", "%%", "#", "##"):
            return _trimmed(value or "", op, part.arg)
        absent = value is None or (op.startswith(":") and not value)
        argument = yield from self._argument(part.arg)
        if op.endswith("+"):
            return "" if absent else argument
        if not absent:
            return value or ""
        if op.endswith("="):
            self.env[part.name] = argument
        if op.endswith("?"):
            yield from emit(self, 2, f"sh: {part.name}: {argument or 'parameter not set'}\n")
            raise ExitShell(2)
        return argument

    def _argument(self, text: str) -> Generator[Any, Any, str]:
        if "$" not in text and "`" not in text and '"' not in text and "'" not in text:
            return text
        node = parse("x=" + text)
        if isinstance(node, Command) and len(node.assignments) == 1:
            return (yield from self.expand(node.assignments[0][1]))
        return text

    def _arithmetic(self, expression: str) -> int:
        return evaluate(expression, lambda name: self.lookup(name) or "0")


def _trimmed(value: str, op: str, pattern: str) -> str:
    """`${x%suffix}`, `${x#prefix}` and their greedy forms; `*` is the only wildcard."""
    expression = re.escape(pattern).replace(r"\*", ".*" if len(op) == 2 else ".*?")
    if op[0] == "#":
        return re.sub(f"^{expression}", "", value, count=1, flags=re.DOTALL)
    starts = range(len(value) + 1) if len(op) == 2 else range(len(value), -1, -1)
    for start in starts:
        if re.fullmatch(expression.replace(".*?", ".*"), value[start:], re.DOTALL):
            return value[:start]
    return value
