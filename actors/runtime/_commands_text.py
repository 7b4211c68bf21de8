"""Programs that print and filter text, as busybox has them."""

from __future__ import annotations

import re
from typing import Any

from actors.runtime._files import FileError, normal
from actors.runtime._programs import command
from actors.runtime._shell import (
    Forever,
    Io,
    Shell,
    Stdin,
    Steps,
    Tick,
    emit,
)

__all__ = ["read_all"]


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


def read_all(shell: Shell, io: Io) -> Any:
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
        return [(yield from read_all(shell, io))], 0
    contents, code = [], 0
    for name in names:
        try:
            contents.append((yield from shell.files.read(normal(name, shell.cwd))))
        except FileError as error:
            verb = "can't open" if "No such" in str(error) else "read error"
            text = (
                f"{program}: can't open '{name}': {error}\n"
                if verb == "can't open"
                else f"{program}: {verb}: {error}\n"
            )
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
        pattern = re.compile(
            re.escape(words[0]) if "F" in flags else words[0][:200], re.IGNORECASE if "i" in flags else 0
        )
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
    data = yield from read_all(shell, io)
    for name in argv[1:]:
        if not name.startswith("-"):
            yield from shell.files.write(normal(name, shell.cwd), data, append="-a" in argv)
    yield from emit(shell, io.stdout, data)
    return 0


@command("seq")
def _seq(shell: Shell, argv: list[str], io: Io) -> Steps:
    numbers = [int(w) for w in argv[1:4] if re.fullmatch(r"-?\d+", w)]
    if not numbers:
        return 1
    first, step, last = (
        [1, 1, *numbers] if len(numbers) == 1 else [numbers[0], 1, numbers[1]] if len(numbers) == 2 else numbers
    )
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
