"""The small shell of simulated containers: what scripts print, how they exit, when they sleep."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.runtime._commands import COMMANDS, Kill
from actors.runtime._files import Files
from actors.runtime._program import FOREVER, Ends, program
from actors.runtime._shell import Forever, Shell, Sleep, Stdin, Tick, UnknownCommand, Write
from actors.runtime._shell_syntax import ShellSyntaxError, parse
from protocol.cri import Mount


class Noon:
    def now(self) -> float:
        return 1_700_000_000.0

    def random_number(self) -> int:
        return 4


def run(script: str, *, stdin: bytes = b"", limit: int = 200, **env: str) -> tuple[str, str, Any, float]:
    """(stdout, stderr, exit code | "forever" | "unknown", seconds slept)."""
    shell = Shell(
        dict(env),
        Files({"/etc/hostname": b"web-1\n"}, [], {}, {}),
        COMMANDS,
        Noon(),
        hostname="web-1",
        live_stdin=bool(stdin),
    )
    steps = shell.main(("sh", "-c", script))
    out, err, slept = bytearray(), bytearray(), 0.0
    value: Any = None
    for _ in range(limit):
        try:
            effect = steps.send(value)
        except StopIteration as end:
            return out.decode(), err.decode(), end.value, slept
        except UnknownCommand:
            return out.decode(), err.decode(), "unknown", slept
        value = None
        if isinstance(effect, Write):
            (out if effect.stream == 1 else err).extend(effect.data)
        elif isinstance(effect, Sleep):
            slept += effect.seconds
        elif isinstance(effect, Stdin):
            value, stdin = stdin, b""
        elif isinstance(effect, (Forever, Kill)):
            return out.decode(), err.decode(), "forever", slept
        else:
            assert isinstance(effect, Tick)
    return out.decode(), err.decode(), "busy", slept


@pytest.mark.parametrize(
    ("script", "code", "seconds"),
    [
        ("exit 7", 7, 0), ("true", 0, 0), ("false", 1, 0), ("sleep 2; exit 3", 3, 2), ("sleep 1 && sleep 1", 0, 2),
        ("false && exit 9", 1, 0), ("false || exit 9", 9, 0), ("false; true", 0, 0), ("exit 300", 44, 0),
        ("sleep 1m30s", 1, 0), ("sleep 1m", 0, 60), ("! false", 0, 0), ("(exit 4); exit $?", 4, 0), ("set -e; false; exit 0", 1, 0),
        ("test 3 -gt 2", 0, 0), ("[ a = b ]", 1, 0), ("[ -f /etc/hostname -a ! -d /nope ]", 0, 0), ("[ -z \"\" ]", 0, 0),
    ],
)  # fmt: skip
def test_a_script_sleeps_and_exits_as_written(script: str, code: int, seconds: float) -> None:
    _, _, ended, slept = run(script)
    assert (ended, slept) == (code, seconds)


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("echo hello", "hello\n"), ("echo -n a; echo b", "ab\n"), ("echo \"$A\" '$A' $A", "x  y $A x y\n"),
        ("i=0; while [ $i -lt 3 ]; do echo $i; i=$((i+1)); done", "0\n1\n2\n"), ("for x in a b; do echo $x; done", "a\nb\n"),
        ("if [ -e /nope ]; then echo yes; elif true; then echo maybe; else echo no; fi", "maybe\n"),
        ("echo $((2*(3+4)-1)) $((7/2)) $((7%4)) $((1<2))", "13 3 3 1\n"), ("echo ${B:-none} ${A:+set}", "none set\n"),
        ("echo a > /tmp/f; echo b >> /tmp/f; cat /tmp/f | wc -l", "2\n"), ("hostname; cat /etc/hostname", "web-1\nweb-1\n"),
        ("echo $(echo in; echo ner)", "in ner\n"), ("printf '%s=%03d\\n' n 7", "n=007\n"), ("date +%Y", "2023\n"),
        ("f=a.tar.gz; echo ${f%.gz} ${f##*.} ${#f}", "a.tar gz 8\n"), ("seq 3 | tail -n 1", "3\n"),
        ("echo one two | grep -c one", "1\n"), ("mkdir -p /d/e; touch /d/e/f; ls /d/e", "f\n"), ("env | grep ^A=", "A=x  y\n"),
        ("echo a # not this", "a\n"), ("{ echo a; echo b; } > /tmp/g; cat /tmp/g", "a\nb\n"), ("echo `echo back`", "back\n"),
    ],
)  # fmt: skip
def test_a_script_prints_as_in_a_real_shell(script: str, printed: str) -> None:
    out, _, code, _ = run(script, A="x  y")
    assert (out, code) == (printed, 0)


def test_a_program_that_is_not_known_is_reported_with_what_ran_before_it() -> None:
    assert run("echo first; nginx -g 'daemon off;'")[::2] == ("first\n", "unknown")


def test_errors_go_to_the_error_stream_in_busyboxs_words() -> None:
    out, err, code, _ = run("cat /tmp/healthy")
    assert (out, err, code) == ("", "cat: can't open '/tmp/healthy': No such file or directory\n", 1)


def test_the_health_file_of_the_documentations_liveness_example_comes_and_goes() -> None:
    out, _, code, slept = run(
        "touch /tmp/h; test -f /tmp/h && echo up; sleep 30; rm -f /tmp/h; test -f /tmp/h || echo down"
    )
    assert (out, code, slept) == ("up\ndown\n", 0, 30)


def test_a_loop_that_never_sleeps_yields_so_that_it_can_be_bounded() -> None:
    assert run("while true; do true; done", limit=50)[2] == "busy"


def test_lines_from_the_input_are_commands_of_a_shell_without_arguments() -> None:
    shell = Shell({}, Files({}, [], {}, {}), COMMANDS, Noon(), live_stdin=True)
    steps = shell.main(("sh",))
    assert isinstance(next(steps), Stdin)
    effect = steps.send(b"echo hi\nexit 5\n")
    assert (effect.stream, effect.data) == (1, b"hi\n")
    with pytest.raises(StopIteration) as end:
        steps.send(None)
    assert end.value.value == 5


def test_a_mount_that_is_read_only_refuses_to_be_written() -> None:
    mounts = [Mount("/conf", "/v", "conf", readonly=True)]
    shell = Shell({}, Files({}, mounts, {"/v": {"a": b"1"}}, {}), COMMANDS, Noon())
    steps = shell.main(("sh", "-c", "cat /conf/a; echo x > /conf/a"))
    assert next(steps).data == b"1"
    effect = next(steps)
    assert effect.stream == 2
    assert b"Read-only file system" in effect.data


@pytest.mark.parametrize(
    "script", ["echo 'open", "if true; then", "case x in y) ;; esac", "cat <<END", "f() { :; }", "echo $(", "&& a"]
)
def test_a_script_beyond_the_shell_is_refused_by_name(script: str) -> None:
    with pytest.raises(ShellSyntaxError):
        parse(script)


@given(st.text(max_size=60))
def test_no_script_does_anything_but_parse_or_be_refused(script: str) -> None:
    try:
        parse(script)
    except ShellSyntaxError:
        pass


@given(
    st.lists(st.sampled_from(["sleep 1", "exit 3", "true", "false", "echo x"]), min_size=1, max_size=6),
    st.lists(st.sampled_from(["; ", " && "]), min_size=6, max_size=6),
)
def test_joined_commands_run_as_their_joints_say(commands: list[str], joints: list[str]) -> None:
    script = commands[0] + "".join(j + c for j, c in zip(joints, commands[1:]))
    code, slept, printed, skip = 0, 0.0, "", False
    for position, text in enumerate(commands):
        if position and joints[position - 1] == " && ":
            skip = skip or code != 0
        else:
            skip = False
        if skip:
            continue
        if text == "exit 3":
            code = 3
            break
        code = {"false": 1}.get(text, 0)
        slept += 1.0 if text == "sleep 1" else 0.0
        printed += "x\n" if text == "echo x" else ""
    out, _, ended, seconds = run(script)
    assert (out, ended, seconds) == (printed, code, slept)


@pytest.mark.parametrize(
    ("argv", "plan"),
    [
        ((), FOREVER), (("nginx",), FOREVER), (("/bin/sleep", "5"), Ends(5.0, 0)), (("true",), Ends(0.0, 0)), (("false",), Ends(0.0, 1)),
        (("sh", "-c", "exit 7"), Ends(0.0, 7)), (("sh", "-c", "sleep 3"), Ends(3.0, 0)), (("sleep", "infinity"), FOREVER),
        (("sh", "-c", "sleep 1; exit 2"), None), (("echo", "x"), None), (("python", "-m", "http.server"), FOREVER),
    ],
)  # fmt: skip
def test_plain_commands_need_no_interpreter(argv: tuple[str, ...], plan: Ends | None) -> None:
    assert program(argv) == plan
