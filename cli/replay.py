"""`kubekka replay FILE`: step back and forth through a recording, and see the cluster as of then."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from cli._errors import UsageError
from cli._moments import Moment, Selection, Viewer, as_yaml, what_changed
from protocol.recording import Change, NotARecording, Recording

COMMANDS = """
  info                        what the recording holds
  goto WHEN                   go to a moment: start, end, a revision (120), seconds after the start
                              (+12.5s, +3m), or a time (2026-01-01T00:00:10Z)
  next [N], back [N]          go N revisions further or back, and show what they changed
  get KIND[,KIND] [NAME] [-n NAMESPACE | -A] [-l LABELS] [-o wide|yaml|json|name]
                              what `kubectl get` showed then
  log [KIND[/NAME]] [-n NAMESPACE | -A]
                              all changes up to this moment, each with the fields that changed
  diff [WHEN [WHEN]] [KIND[/NAME]]
                              what differs between two moments (from the start, to here)
  export                      all objects as of then, as YAML that `up --import` takes
  help, quit
"""


def configure(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of `replay`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"commands (without one they are read from stdin, line by line):\n{COMMANDS}"
    parser.add_argument("file", type=Path, metavar="FILE", help="a recording, made by `--record FILE`")
    parser.add_argument("--at", default="end", metavar="WHEN", help="the moment to begin at (%(default)s)")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="one command, e.g. get pods -A")


def run(options: argparse.Namespace) -> int:
    """Run one command, or those that are typed."""
    try:
        recording = Recording.read(options.file)
    except OSError as error:
        raise UsageError(f"cannot read {options.file}: {error.strerror or error}") from None
    except NotARecording as error:
        raise UsageError(str(error)) from None
    session = Session(recording, sys.stdout.write)
    words = options.command
    when, words = (words[1], words[2:]) if words[:1] == ["--at"] and len(words) > 1 else (options.at, words)
    session.now = session.moment(when)
    if words:
        session.do(words)
        return 0
    return _converse(session)


def _converse(session: Session) -> int:
    """Read commands until the end; a wrong one is answered by a line and changes nothing."""
    person = sys.stdin.isatty()
    failed = False
    if person:
        session.do(["info"])
        sys.stdout.write("`help` lists the commands.\n")
    while True:
        if person:
            sys.stdout.write(f"{session.where()}> ")
            sys.stdout.flush()
        line = sys.stdin.readline()
        if not line or line.strip() in ("quit", "exit", "q"):
            return 1 if failed and not person else 0
        try:
            words = shlex.split(line, comments=True)
            if words:
                session.do(words)
        except (UsageError, ValueError) as error:
            failed = True
            sys.stderr.write(f"{error}\n")


class _Words(argparse.ArgumentParser):
    """The flags of one command; what is wrong with them is raised."""

    def __init__(self) -> None:
        super().__init__(add_help=False, exit_on_error=False)
        self.add_argument("words", nargs="*")
        self.add_argument("-n", "--namespace", default="default")
        self.add_argument("-A", "--all-namespaces", action="store_true")
        self.add_argument("-l", "--selector", default="")
        self.add_argument("-o", "--output", default="")

    def error(self, message: str) -> Any:
        raise UsageError(message)


class Session:
    """Where one is in a recording, and the commands. `write` takes text."""

    def __init__(self, recording: Recording, write: Callable[[str], object]) -> None:
        self.recording = recording
        self.viewer = Viewer(recording)
        self.write = write
        self.now = self._at(recording.revisions[-1])

    def do(self, words: Sequence[str]) -> None:
        """Run one command. Raises: UsageError."""
        command = getattr(self, f"do_{words[0]}", None)
        if command is None:
            raise UsageError(f"there is no command {words[0]!r}; `help` lists them")
        command(_Words().parse_intermixed_args(list(words[1:])))

    # -- Moments ---------------------------------------------------------------------------------

    @property
    def at(self) -> int:
        """The revision where one is."""
        return self.now.revision

    def _at(self, revision: int) -> Moment:
        return Moment(revision, self.recording.time_of(revision))

    def where(self) -> str:
        """`revision 120 (+3.250s)`."""
        return f"revision {self.at} ({self._after_start(self.now.time_s)})"

    def _after_start(self, time_s: float) -> str:
        return f"+{time_s - self.recording.times[0]:.3f}s"

    def moment(self, text: str) -> Moment:
        """The moment that is meant. Raises: UsageError."""
        recording = self.recording
        if text in ("start", "end"):
            return self._at(recording.revisions[0 if text == "start" else -1])
        if text in ("here", "."):
            return self.now
        if text.isdecimal():
            return self._at(recording.step(int(text), 0))
        match = re.fullmatch(r"\+?(\d+(?:\.\d+)?)(ms|s|m|h)", text)
        if match is not None:
            seconds = float(match[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[match[2]]
            time_s = recording.times[0] + seconds
        else:
            try:
                when = datetime.fromisoformat(text)
            except ValueError:
                raise UsageError(
                    f"{text!r} is no moment: start, end, a revision, +12.5s after the start, or 2026-01-01T00:00:10Z"
                ) from None
            time_s = when.replace(tzinfo=when.tzinfo or UTC).timestamp()
        return Moment(recording.revision_at(time_s), max(time_s, recording.times[0]))

    # -- Commands --------------------------------------------------------------------------------

    def do_info(self, _: argparse.Namespace) -> None:
        recording = self.recording
        first, last = recording.times[0], recording.times[-1]
        start = datetime.fromtimestamp(first, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        revisions = f"revisions {recording.revisions[0]} to {recording.revisions[-1]}"
        cut = "; the end was cut off" if recording.cut else ""
        count = len(recording.state(self.at))
        self.write(f"Kubernetes 1.{recording.minor}, {revisions}, from {start} for {last - first:.3f} s{cut}\n")
        self.write(f"{self.where()}: {count} objects\n")

    def do_help(self, _: argparse.Namespace) -> None:
        self.write(COMMANDS.lstrip("\n"))

    def do_goto(self, given: argparse.Namespace) -> None:
        if len(given.words) != 1:
            raise UsageError("goto takes one moment: `goto +5s`")
        self.now = self.moment(given.words[0])
        self.write(f"{self.where()}\n")

    def do_next(self, given: argparse.Namespace) -> None:
        self._step(given, 1)

    def do_back(self, given: argparse.Namespace) -> None:
        self._step(given, -1)

    def _step(self, given: argparse.Namespace, direction: int) -> None:
        count = given.words[0] if given.words else "1"
        if not count.isdecimal():
            raise UsageError(f"{count!r} is no number of revisions")
        before = self.at
        self.now = self._at(self.recording.step(before, direction * int(count)))
        low, high = sorted((before, self.at))
        for change in self.recording.changes(after=low, until=high):
            self._tell(change, "undoes " if direction < 0 else "")
        self.write(f"{self.where()}\n")

    def _tell(self, change: Change, mark: str = "") -> None:
        old = self.recording.value(change.key, change.revision - 1)
        told = what_changed(orjson.loads(old) if old else None, orjson.loads(change.value) if change.value else None)
        name = change.key.removeprefix("/registry/")
        self.write(f"{change.revision:>7} {self._after_start(change.time_s):>10} {mark}{name}: {told}\n")

    def do_get(self, given: argparse.Namespace) -> None:
        if not given.words:
            raise UsageError("get takes a kind: `get pods -A`")
        kinds, *names = given.words
        namespace = None if given.all_namespaces else given.namespace
        choices = [
            Selection(self.viewer, kind, name, namespace, given.selector)
            for kind in kinds.split(",")
            for name in names or [""]
        ]
        if given.output in ("", "wide"):
            tables = [self.viewer.table(choice, self.now, given.output == "wide") for choice in choices]
            found = "\n\n".join(text for text in tables if text)
            self.write(f"{found}\n" if found else f"No resources found{self._in(namespace, choices)}.\n")
            return
        objects = [obj for choice in choices for obj in self.viewer.objects(choice, self.at)]
        if given.output == "name":
            self.write("".join(f"{o['kind'].lower()}/{o['metadata']['name']}\n" for o in objects))
        elif given.output in ("yaml", "json"):
            shown = objects[0] if names and len(objects) == 1 else _list(objects)
            text = as_yaml(shown) if given.output == "yaml" else orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode()
            self.write(text.rstrip("\n") + "\n")
        else:
            raise UsageError(f"-o takes wide, yaml, json or name, not {given.output!r}")

    def _in(self, namespace: str | None, choices: list[Selection]) -> str:
        return f" in {namespace} namespace" if namespace and any(c.namespaced for c in choices) else ""

    def do_log(self, given: argparse.Namespace) -> None:
        namespace = None if given.all_namespaces or not given.words else given.namespace
        choices = [Selection(self.viewer, word, "", namespace, given.selector) for word in given.words]
        prefixes: list[tuple[str, Selection | None]] = [(c.prefix, c) for c in choices] or [("", None)]
        for prefix, choice in prefixes:
            for change in self.recording.changes(prefix, until=self.at):
                obj = orjson.loads(change.value) if change.value else None
                if choice is None or choice.chooses(change.key, obj):
                    self._tell(change)

    def do_diff(self, given: argparse.Namespace) -> None:
        moments: list[int] = []
        choice = None
        for word in given.words:
            if re.match(r"\+?\d|start$|end$|here$|\.$", word):
                moments.append(self.moment(word).revision)
            elif choice is None:
                choice = Selection(self.viewer, word, "", None if given.all_namespaces else given.namespace)
            else:
                raise UsageError("diff takes two moments and one kind")
        if len(moments) > 2:
            raise UsageError("diff takes two moments")
        earlier = moments[0] if moments else self.recording.revisions[0]
        later = moments[1] if len(moments) == 2 else self.at
        for line in self.viewer.differences(earlier, later, choice):
            self.write(f"{line}\n")

    def do_export(self, _: argparse.Namespace) -> None:
        objects = []
        for key, value in self.recording.state(self.at).items():
            obj = orjson.loads(value)
            if isinstance(obj, dict) and obj.get("kind") and not key.startswith("/registry/events/"):
                objects.append(obj)
        self.write(as_yaml(_list(objects)))


def _list(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": objects}
