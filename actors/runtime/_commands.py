"""The programs that simulated containers know, each a generator as `_shell` describes.

Owns what a command prints and its exit code, as busybox has them. It never touches the machine:
files come from the shell's `Files`, time from its clock.
"""

from __future__ import annotations

import io
import posixpath
import re
import tarfile
import time
from collections.abc import Callable
from typing import Any

from actors.runtime._files import FileError, normal
from actors.runtime._shell import (
    ExitShell,
    Forever,
    Io,
    LoopControl,
    Shell,
    Sleep,
    Stdin,
    Steps,
    Tick,
    UnknownCommand,
    emit,
)

__all__ = ["COMMANDS", "Kill", "sleep_seconds"]

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
Program = Callable[[Shell, list[str], Io], Steps]
COMMANDS: dict[str, Program] = {}


class Kill:
    """Sends a signal to the container's main process."""

    __slots__ = ("signal",)

    def __init__(self, signal: str) -> None:
        self.signal = signal


def command(*names: str) -> Callable[[Program], Program]:
    def register(program: Program) -> Program:
        for name in names:
            COMMANDS[name] = program
        return program
    return register


def sleep_seconds(words: list[str]) -> float | None:
    """The length of `sleep` with these arguments; infinity is `inf`; None if it is no duration."""
    total = 0.0
    for word in words:
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)([smhd]?)", word)
        if word in ("infinity", "inf"):
            total = float("inf")
        elif match is None:
            return None
        else:
            total += float(match.group(1)) * UNITS[match.group(2) or "s"]
    return total if words else None


@command("true", ":")
def _true(shell: Shell, argv: list[str], io: Io) -> Steps:
    return 0
    yield


@command("nslookup", "dig", "ping", "nc", "wget", "curl")
def _network(shell: Shell, argv: list[str], io: Io) -> Steps:
    """Network clients find what they look for; there is no network inside the runtime."""
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


@command("echo")
def _echo(shell: Shell, argv: list[str], io: Io) -> Steps:
    words, newline, escapes = argv[1:], "\n", False
    while words and re.fullmatch(r"-[neE]+", words[0]):
        newline = "" if "n" in words[0] else newline
        escapes = "e" in words[0] or escapes
        words = words[1:]
    text = " ".join(words)
    yield from emit(shell, io.stdout, (_unescaped(text) if escapes else text) + newline)
    return 0


def _unescaped(text: str) -> str:
    table = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "b": "\b", "0": "\0", "e": "\x1b"}
    return re.sub(r"\\(.)", lambda m: table.get(m.group(1), m.group(0)), text)


@command("printf")
def _printf(shell: Shell, argv: list[str], io: Io) -> Steps:
    if len(argv) < 2:
        return 2
    form, values = _unescaped(argv[1]), list(argv[2:])
    specs = re.findall(r"%(?:%|-?0?\d*(?:\.\d+)?[sdixXof])", form)
    once = sum(1 for s in specs if s != "%%")
    text = ""
    while True:
        def conversion(match: re.Match[str]) -> str:
            spec = match.group(0)
            if spec == "%%":
                return "%"
            value = values.pop(0) if values else ""
            if spec[-1] in "dixXo":
                number = int(value) if re.fullmatch(r"-?\d+", value) else 0
                return spec.replace("i", "d") % number
            if spec[-1] == "f":
                return spec % (float(value) if re.fullmatch(r"-?\d+(\.\d*)?", value) else 0.0)
            return spec % value
        text += re.sub(r"%(?:%|-?0?\d*(?:\.\d+)?[sdixXof])", conversion, form)
        if not values or not once:
            break
    yield from emit(shell, io.stdout, text)
    return 0


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


def _stdin(shell: Shell, io: Io) -> Any:
    """All of the input."""
    if io.stdin is not None:
        return io.stdin
    data = b""
    while shell.live_stdin and (more := (yield Stdin())):
        data += more
    return data


def _inputs(shell: Shell, names: list[str], io: Io, program: str) -> Any:
    """(contents, exit code) of the files named, or of the input if none is."""
    if not names or names == ["-"]:
        return [(yield from _stdin(shell, io))], 0
    contents, code = [], 0
    for name in names:
        try:
            contents.append((yield from shell.files.read(normal(name, shell.cwd))))
        except FileError as error:
            verb = "can't open" if "No such" in str(error) else "read error"
            text = f"{program}: can't open '{name}': {error}\n" if verb == "can't open" else f"{program}: {verb}: {error}\n"
            yield from emit(shell, io.stderr, text)
            code = 1
    return contents, code


@command("cat")
def _cat(shell: Shell, argv: list[str], io: Io) -> Steps:
    names = [w for w in argv[1:] if not w.startswith("-") or w == "-"]
    if not names and io.stdin is None and shell.live_stdin:
        while data := (yield Stdin()):
            yield from emit(shell, io.stdout, data)
        return 0
    if not names and io.stdin is None and not shell.live_stdin:
        return 0
    contents, code = yield from _inputs(shell, names, io, "cat")
    for data in contents:
        yield from emit(shell, io.stdout, data)
    return int(code)


@command("head", "tail")
def _head_tail(shell: Shell, argv: list[str], io: Io) -> Steps:
    count, follow, names, words = 10, False, [], argv[1:]
    while words:
        word = words.pop(0)
        if word in ("-f", "-F", "--follow"):
            follow = True
        elif word == "-n" and words:
            count = abs(int(words.pop(0).lstrip("+-") or 10))
        elif re.fullmatch(r"-(n)?\d+", word):
            count = int(word.lstrip("-n"))
        elif word.startswith(("-c", "--")):
            continue
        else:
            names.append(word)
    names = [n for n in names if n != "/dev/null"] or names
    if names == ["/dev/null"]:
        contents, code = [b""], 0
    else:
        contents, code = yield from _inputs(shell, names, io, argv[0])
    for data in contents:
        lines = data.splitlines(keepends=True)
        chosen = lines[:count] if argv[0] == "head" else lines[-count:] if count else []
        yield from emit(shell, io.stdout, b"".join(chosen))
    if follow and argv[0] == "tail" and not code:
        yield Forever()
    return int(code)


@command("wc")
def _wc(shell: Shell, argv: list[str], io: Io) -> Steps:
    flags = "".join(w[1:] for w in argv[1:] if w.startswith("-"))
    names = [w for w in argv[1:] if not w.startswith("-")]
    contents, code = yield from _inputs(shell, names, io, "wc")
    for position, data in enumerate(contents):
        figures = {"l": data.count(b"\n"), "w": len(data.split()), "c": len(data)}
        shown = " ".join(str(figures[f]) for f in (flags or "lwc") if f in figures)
        name = f" {names[position]}" if names else ""
        yield from emit(shell, io.stdout, f"{shown}{name}\n")
    return int(code)


@command("grep")
def _grep(shell: Shell, argv: list[str], io: Io) -> Steps:
    flags = "".join(w[1:] for w in argv[1:] if w.startswith("-"))
    words = [w for w in argv[1:] if not w.startswith("-")]
    if not words:
        return 2
    contents, code = yield from _inputs(shell, words[1:], io, "grep")
    try:
        pattern = re.compile(re.escape(words[0]) if "F" in flags else words[0][:200],
                             re.IGNORECASE if "i" in flags else 0)
    except re.error:
        return 2
    found = 0
    for data in contents:
        for line in data.decode(errors="replace").splitlines():
            if bool(pattern.search(line[:2000])) != ("v" in flags):
                found += 1
                if "q" not in flags and "c" not in flags:
                    yield from emit(shell, io.stdout, line + "\n")
    if "c" in flags:
        yield from emit(shell, io.stdout, f"{found}\n")
    return 2 if code else 0 if found else 1


@command("sort", "uniq")
def _sort(shell: Shell, argv: list[str], io: Io) -> Steps:
    names = [w for w in argv[1:] if not w.startswith("-")]
    contents, code = yield from _inputs(shell, names, io, argv[0])
    lines = [line for data in contents for line in data.splitlines()]
    if argv[0] == "sort":
        lines.sort(reverse="-r" in argv)
    if argv[0] == "uniq" or "-u" in argv:
        lines = [line for at, line in enumerate(lines) if not at or line != lines[at - 1]]
    yield from emit(shell, io.stdout, b"".join(line + b"\n" for line in lines))
    return int(code)


@command("tee")
def _tee(shell: Shell, argv: list[str], io: Io) -> Steps:
    data = yield from _stdin(shell, io)
    for name in argv[1:]:
        if not name.startswith("-"):
            yield from shell.files.write(normal(name, shell.cwd), data, append="-a" in argv)
    yield from emit(shell, io.stdout, data)
    return 0


@command("ls")
def _ls(shell: Shell, argv: list[str], io: Io) -> Steps:
    code = 0
    names = [w for w in argv[1:] if not w.startswith("-")] or ["."]
    for name in names:
        path = normal(name, shell.cwd)
        if (yield from shell.files.is_directory(path)):
            entries = yield from shell.files.names(path)
            shown = [e for e in entries if not e.startswith(".") or "-a" in argv]
            head = f"{name}:\n" if len(names) > 1 else ""
            yield from emit(shell, io.stdout, head + "".join(e + "\n" for e in shown))
        elif (yield from shell.files.exists(path)):
            yield from emit(shell, io.stdout, name + "\n")
        else:
            yield from emit(shell, io.stderr, f"ls: {name}: No such file or directory\n")
            code = 1
    return code


@command("touch")
def _touch(shell: Shell, argv: list[str], io: Io) -> Steps:
    for name in argv[1:]:
        path = normal(name, shell.cwd)
        if not (yield from shell.files.exists(path)):
            yield from shell.files.write(path, b"")
    return 0


@command("rm")
def _rm(shell: Shell, argv: list[str], io: Io) -> Steps:
    flags = "".join(w[1:] for w in argv[1:] if w.startswith("-"))
    code = 0
    for name in (w for w in argv[1:] if not w.startswith("-")):
        try:
            yield from shell.files.remove(normal(name, shell.cwd), "r" in flags or "R" in flags)
        except FileError as error:
            if "f" not in flags:
                yield from emit(shell, io.stderr, f"rm: can't remove '{name}': {error}\n")
                code = 1
    return code


@command("mkdir")
def _mkdir(shell: Shell, argv: list[str], io: Io) -> Steps:
    for name in (w for w in argv[1:] if not w.startswith("-")):
        yield from shell.files.make_directory(normal(name, shell.cwd), "-p" in argv)
    return 0


@command("cp", "mv")
def _copy(shell: Shell, argv: list[str], io: Io) -> Steps:
    names = [normal(w, shell.cwd) for w in argv[1:] if not w.startswith("-")]
    if len(names) < 2:
        return 1
    into = yield from shell.files.is_directory(names[-1])
    for name in names[:-1]:
        data = yield from shell.files.read(name)
        target = posixpath.join(names[-1], posixpath.basename(name)) if into else names[-1]
        yield from shell.files.write(target, data)
        if argv[0] == "mv":
            yield from shell.files.remove(name, False)
    return 0


@command("cd", "pwd")
def _directory(shell: Shell, argv: list[str], io: Io) -> Steps:
    if argv[0] == "pwd":
        yield from emit(shell, io.stdout, shell.cwd + "\n")
        return 0
    path = normal(argv[1] if len(argv) > 1 else shell.env.get("HOME", "/"), shell.cwd)
    if not (yield from shell.files.is_directory(path)):
        yield from emit(shell, io.stderr, f"sh: cd: can't cd to {argv[-1]}: No such file or directory\n")
        return 1
    shell.cwd = path
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
    texts = {"whoami": "root", "id": "uid=0(root) gid=0(root) groups=0(root)", "uname": "Linux"}
    if argv[0] == "uname" and "-n" in argv:
        texts["uname"] = shell.hostname
    if argv[0] == "id" and "-u" in argv:
        texts["id"] = "0"
    yield from emit(shell, io.stdout, texts[argv[0]] + "\n")
    return 0


@command("seq")
def _seq(shell: Shell, argv: list[str], io: Io) -> Steps:
    numbers = [int(w) for w in argv[1:4] if re.fullmatch(r"-?\d+", w)]
    if not numbers:
        return 1
    first, step, last = ([1, 1, *numbers] if len(numbers) == 1 else
                         [numbers[0], 1, numbers[1]] if len(numbers) == 2 else numbers)
    if not step:
        return 1
    values = range(first, last + (1 if step > 0 else -1), step)[:100_000]
    yield from emit(shell, io.stdout, "".join(f"{n}\n" for n in values))
    return 0


@command("yes")
def _yes(shell: Shell, argv: list[str], io: Io) -> Steps:
    while True:
        yield from emit(shell, io.stdout, (" ".join(argv[1:]) or "y") + "\n")
        yield Tick()


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
    data = yield from _stdin(shell, io)
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
        child = Shell(dict(shell.env), shell.files, shell.commands, shell.clock, shell.cwd,
                      shell.hostname, shell.live_stdin)
        child.traps = shell.traps
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
            right = yield from _holds(shell, words[at + 1:])
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


@command("tar")
def _tar(shell: Shell, argv: list[str], io: Io) -> Steps:
    """`tar cf - PATH` and `tar xmf - -C DIR`: what `kubectl cp` runs at the other end."""
    words, directory, flags, names = argv[1:], shell.cwd, "", []
    first = True
    while words:
        word = words.pop(0)
        if word == "-C" and words:
            directory = normal(words.pop(0), shell.cwd)
        elif first or (word.startswith("-") and word != "-" and not word.startswith("--")):
            flags += word.lstrip("-")
        elif not word.startswith("--") and word != "-":
            names.append(word)
        first = False
    if "c" in flags:
        buffer = io_bytes()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name in names:
                yield from _archive(shell, archive, normal(name, directory), name.lstrip("/"))
        yield from emit(shell, io.stdout, buffer.getvalue())
        return 0
    data = yield from _stdin(shell, io)
    try:
        with tarfile.open(fileobj=io_bytes(data)) as archive:
            for member in archive:
                path = normal(member.name, directory)
                if member.isdir():
                    yield from shell.files.make_directory(path, True)
                elif member.isfile() and (content := archive.extractfile(member)) is not None:
                    yield from shell.files.make_directory(posixpath.dirname(path), True)
                    yield from shell.files.write(path, content.read())
    except tarfile.TarError as error:
        yield from emit(shell, io.stderr, f"tar: {error}\n")
        return 1
    return 0


def io_bytes(data: bytes = b"") -> io.BytesIO:
    return io.BytesIO(data)


def _archive(shell: Shell, archive: tarfile.TarFile, path: str, name: str) -> Any:
    if (yield from shell.files.is_directory(path)):
        entry = tarfile.TarInfo(name)
        entry.type = tarfile.DIRTYPE
        entry.mode = 0o755
        archive.addfile(entry)
        for child in (yield from shell.files.names(path)):
            yield from _archive(shell, archive, posixpath.join(path, child), f"{name}/{child}")
        return
    data = yield from shell.files.read(path)
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
