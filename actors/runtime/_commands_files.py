"""Programs that make, copy and list files, and `tar`, which `kubectl cp` runs at the other end."""

from __future__ import annotations

import io
import posixpath
from typing import TYPE_CHECKING, Any

from actors.runtime._commands_text import read_all
from actors.runtime._files import FileError, normal
from actors.runtime._programs import command
from actors.runtime._shell import (
    Io,
    Shell,
    Steps,
    emit,
)

if TYPE_CHECKING:
    import tarfile

__all__: list[str] = []


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


@command("tar")
def _tar(shell: Shell, argv: list[str], io: Io) -> Steps:
    """`tar cf - PATH` and `tar xmf - -C DIR`: what `kubectl cp` runs at the other end."""
    import tarfile

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
    data = yield from read_all(shell, io)
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
    import tarfile

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
