"""The programs that simulated containers know, each a generator as `_shell` describes.

Owns what a command prints and its exit code, as busybox has them; here are the shell's own, the
others are in `_commands_text`, `_commands_files` and `_commands_network`. None touches the machine: files come from
the shell's `Files`, time from its clock.
"""

from __future__ import annotations

import re
import time
from typing import Any

from actors.runtime import _commands_files, _commands_network
from actors.runtime._commands_text import read_all
from actors.runtime._files import FileError, normal
from actors.runtime._programs import COMMANDS, Kill, command, sleep_seconds
from actors.runtime._shell import (
    ExitShell,
    Forever,
    Io,
    LoopControl,
    Shell,
    Sleep,
    Stdin,
    Steps,
    UnknownCommand,
    emit,
)

__all__ = ["COMMANDS", "Kill", "sleep_seconds"]

_REGISTERED = (_commands_files, _commands_network, read_all)  # importing them put their programs in the table


@command("true", ":")
def _true(shell: Shell, argv: list[str], io: Io) -> Steps:
    return 0
    yield


@command("false")
def _false(shell: Shell, argv: list[str], io: Io) -> Steps:
    return 1
    yield


@command("sleep")
def _sleep(shell: Shell, argv: list[str], io: Io) -> Steps:
    seconds = sleep_seconds(argv[1:])
    if seconds is None:
        yield from emit(shell, io.stderr, f"sleep: invalid time interval '{' '.join(argv[1:])}'\n")
        return 1
    yield Forever() if seconds == float("inf") else Sleep(seconds)
    return 0


@command("exit", "return")
def _exit(shell: Shell, argv: list[str], io: Io) -> Steps:
    text = argv[1] if len(argv) > 1 else str(shell.status)
    raise ExitShell(int(text) & 0xFF if re.fullmatch(r"-?\d+", text) else 2)
    yield


@command("break", "continue")
def _loop_control(shell: Shell, argv: list[str], io: Io) -> Steps:
    raise LoopControl(argv[0] == "continue")
    yield


@command("env", "printenv")
def _env(shell: Shell, argv: list[str], io: Io) -> Steps:
    words = argv[1:]
    if argv[0].endswith("printenv") and words:
        code = 0
        for name in words:
            if name in shell.env:
                yield from emit(shell, io.stdout, shell.env[name] + "\n")
            else:
                code = 1
        return code
    env = dict(shell.env)
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if words:
        outer, shell.env = shell.env, env
        try:
            return (yield from shell.invoke(words, io))
        finally:
            shell.env = outer
    yield from emit(shell, io.stdout, "".join(f"{k}={v}\n" for k, v in env.items()))
    return 0


@command("date")
def _date(shell: Shell, argv: list[str], io: Io) -> Steps:
    now = shell.clock.now()
    form = next((w[1:] for w in argv[1:] if w.startswith("+")), "%a %b %e %H:%M:%S UTC %Y")
    form = form.replace("%s", str(int(now))).replace("%N", f"{int(now % 1 * 1e9):09d}")
    yield from emit(shell, io.stdout, time.strftime(form, time.gmtime(now)) + "\n")
    return 0


@command("hostname")
def _hostname(shell: Shell, argv: list[str], io: Io) -> Steps:
    yield from emit(shell, io.stdout, shell.hostname + "\n")
    return 0


@command("whoami", "id", "uname")
def _identity(shell: Shell, argv: list[str], io: Io) -> Steps:
    name, flags = argv[0].rsplit("/", 1)[-1], "".join(w[1:] for w in argv[1:] if w.startswith("-"))
    if name == "whoami":
        if shell.uid:
            yield from emit(shell, io.stderr, f"whoami: unknown uid {shell.uid}\n")
            return 1
        text = "root"
    elif name == "uname":
        text = shell.hostname if "n" in flags else "Linux"
    else:
        groups = tuple(dict.fromkeys((shell.gid, *shell.groups)))
        text = f"uid={_known(shell.uid)} gid={_known(shell.gid)} groups={','.join(map(_known, groups))}"
        if flags[:1] in ("u", "g", "G"):
            numbers = {"u": (shell.uid,), "g": (shell.gid,), "G": groups}[flags[0]]
            text = " ".join(str(n) for n in numbers)
    yield from emit(shell, io.stdout, text + "\n")
    return 0


def _known(number: int) -> str:
    return "0(root)" if number == 0 else str(number)


@command("sysctl")
def _sysctl(shell: Shell, argv: list[str], io: Io) -> Steps:
    code = 0
    for name in (w for w in argv[1:] if not w.startswith("-")):
        path = f"/proc/sys/{name.replace('.', '/')}"
        try:
            value = yield from shell.files.read(path)
        except FileError:
            yield from emit(shell, io.stderr, f"sysctl: error: '{path}': No such file or directory\n")
            code = 1
            continue
        text = value.decode().strip()
        yield from emit(shell, io.stdout, (text if "-n" in argv else f"{name} = {text}") + "\n")
    return code


@command("export", "readonly", "local")
def _export(shell: Shell, argv: list[str], io: Io) -> Steps:
    for word in argv[1:]:
        name, equals, value = word.partition("=")
        if equals:
            shell.env[name] = value
    return 0
    yield


@command("unset")
def _unset(shell: Shell, argv: list[str], io: Io) -> Steps:
    for name in argv[1:]:
        shell.env.pop(name, None)
    return 0
    yield


@command("set", "shift", "umask", "ulimit", "chmod", "chown", "sync", "hash", "ln")
def _nothing(shell: Shell, argv: list[str], io: Io) -> Steps:
    if argv[0] == "shift":
        shell.arguments = shell.arguments[1:]
    if argv[0] == "set" and len(argv) > 1 and re.match(r"[-+][a-z]*e", argv[1]):
        shell.exit_on_error = argv[1][0] == "-"
    return 0
    yield


@command("read")
def _read(shell: Shell, argv: list[str], io: Io) -> Steps:
    data = yield from read_all(shell, io)
    line, _, rest = data.decode(errors="replace").partition("\n")
    if io.stdin is not None:
        io.stdin = rest.encode()
    names = [w for w in argv[1:] if not w.startswith("-")] or ["REPLY"]
    shell.env[names[0]] = line
    return 0 if data else 1


@command("trap")
def _trap(shell: Shell, argv: list[str], io: Io) -> Steps:
    words = argv[1:]
    if words and words[0] == "--":
        words = words[1:]
    for name in words[1:]:
        signal = {"15": "TERM", "2": "INT", "0": "EXIT"}.get(name, name.upper().removeprefix("SIG"))
        if words[0] == "-":
            shell.traps.pop(signal, None)
        else:
            shell.traps[signal] = words[0]
    return 0
    yield


@command("wait")
def _wait(shell: Shell, argv: list[str], io: Io) -> Steps:
    code = 0
    while shell.jobs:
        try:
            code = yield from shell.run(shell.jobs.pop(0), io)
        except UnknownCommand:
            yield Forever()
    return code


@command("exec")
def _exec(shell: Shell, argv: list[str], io: Io) -> Steps:
    if len(argv) == 1:
        return 0
    raise ExitShell((yield from shell.invoke(argv[1:], io)))


@command("sh", "bash", "ash", "dash", "/bin/sh", "/bin/bash")
def _sh(shell: Shell, argv: list[str], io: Io) -> Steps:
    words = argv[1:]
    reads_command = False
    while words and re.fullmatch(r"[-+][a-zA-Z]+|--\w+", words[0]):
        reads_command = reads_command or (words[0][0] == "-" and "c" in words[0])
        takes_value = words[0][-1] == "o"
        words = words[2:] if takes_value else words[1:]
    if reads_command and words:
        child = Shell(
            dict(shell.env), shell.files, shell.commands, shell.clock, shell.cwd, shell.hostname, shell.live_stdin
        )
        child.traps = shell.traps
        child.uid, child.gid, child.groups = shell.uid, shell.gid, shell.groups
        child.arguments = tuple(words[2:])
        try:
            return (yield from child.script(words[0], io))
        except ExitShell as end:
            return end.code
    if words:
        try:
            text = (yield from shell.files.read(normal(words[0], shell.cwd))).decode(errors="replace")
        except FileError:
            raise UnknownCommand(words[0]) from None
        return (yield from shell.script(text, io))
    return (yield from _interactive(shell, io))


def _interactive(shell: Shell, io: Io) -> Steps:
    """Lines from the input, each run when it is complete."""
    if io.stdin is not None:
        return (yield from shell.script(io.stdin.decode(errors="replace"), Io(b"", io.stdout, io.stderr)))
    pending, code = b"", 0
    while shell.live_stdin:
        data = yield Stdin()
        pending += data
        lines = pending.split(b"\n")
        pending = lines.pop() if data else b""
        for line in lines:
            try:
                code = yield from shell.script(line.decode(errors="replace"), Io(None, io.stdout, io.stderr))
            except UnknownCommand as error:
                yield from emit(shell, io.stderr, f"sh: {error}\n")
                code = 127
            except ExitShell as end:
                return end.code
        if not data:
            break
    return code


@command("kill")
def _kill(shell: Shell, argv: list[str], io: Io) -> Steps:
    signal = "TERM"
    for word in argv[1:]:
        if word.startswith("-"):
            name = word.lstrip("-").upper().removeprefix("SIG")
            signal = {"9": "KILL", "15": "TERM", "2": "INT", "0": "0"}.get(name, name)
        elif word == "1" and signal != "0":
            yield Kill(signal)
    return 0


@command("command", "type", "which")
def _which(shell: Shell, argv: list[str], io: Io) -> Steps:
    names = [w for w in argv[1:] if not w.startswith("-")]
    if argv[0] == "command" and "-v" not in argv:
        return (yield from shell.invoke(names, io))
    for name in names:
        if name.rsplit("/", 1)[-1] not in shell.commands:
            return 1
        yield from emit(shell, io.stdout, (name if "/" in name else f"/bin/{name}") + "\n")
    return 0


@command("test", "[")
def _test(shell: Shell, argv: list[str], io: Io) -> Steps:
    words = argv[1:]
    if argv[0] == "[":
        if not words or words[-1] != "]":
            return 2
        words = words[:-1]
    return int(not (yield from _holds(shell, words)))


def _holds(shell: Shell, words: list[str]) -> Any:
    for joint, all_of in (("-o", False), ("-a", True)):
        if joint in words[1:-1]:
            at = words.index(joint, 1)
            left = yield from _holds(shell, words[:at])
            right = yield from _holds(shell, words[at + 1 :])
            return (left and right) if all_of else (left or right)
    if not words:
        return False
    if words[0] == "!":
        return not (yield from _holds(shell, words[1:]))
    if len(words) == 1:
        return bool(words[0])
    if len(words) == 2:
        return (yield from _unary(shell, words[0], words[1]))
    if len(words) == 3:
        return _binary(*words)
    return False


def _unary(shell: Shell, op: str, operand: str) -> Any:
    if op in ("-z", "-n"):
        return (op == "-n") == bool(operand)
    path = normal(operand, shell.cwd)
    directory = yield from shell.files.is_directory(path)
    if op == "-d":
        return directory
    exists = yield from shell.files.exists(path)
    if op == "-s":
        return exists and not directory and bool((yield from shell.files.read(path)))
    return exists and (op in ("-e", "-r", "-w", "-x") or (op == "-f" and not directory))


def _binary(left: str, op: str, right: str) -> bool:
    if op in ("=", "=="):
        return left == right
    if op == "!=":
        return left != right
    numbers = [int(x) if re.fullmatch(r"\s*-?\d+\s*", x) else 0 for x in (left, right)]
    table = {"-eq": 0, "-ne": 0, "-lt": 0, "-le": 0, "-gt": 0, "-ge": 0}
    if op not in table:
        return False
    a, b = numbers
    return {"-eq": a == b, "-ne": a != b, "-lt": a < b, "-le": a <= b, "-gt": a > b, "-ge": a >= b}[op]
