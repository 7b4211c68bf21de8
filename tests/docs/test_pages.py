"""The commands that pages show run, and print what the pages say.

In a page, a block with `file=NAME` is a file; in a `console` block each line after `$ ` is run in a
shell, and the lines after it must be found in its output, in order; `...` stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("learn.md", "timetravel.md")
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command with the lines expected of it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def pattern(line: str) -> re.Pattern[str]:
    parts = [r"\s+".join(map(re.escape, part.split(" "))) for part in re.split(r"\.\.\. ?", line)]
    return re.compile(".*".join(re.sub(r"(\\s\+)+", r"\\s+", part) for part in parts))


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_shows_happens(page: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "kubekka"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "cluster.py"} "$@"\n')
    program.chmod(0o755)
    paths = os.pathsep.join([str(program.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": paths, "PYTHONPATH": str(ROOT)}
    ran = 0
    for language, name, text in BLOCK.findall((ROOT / "docs" / page).read_text()):
        if name:
            (tmp_path / name).write_text(text)
        if language != "console":
            continue
        for command, expected in commands(text):
            done = subprocess.run(
                command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, f"{command}: {done.stderr}"
            rest = iter(done.stdout.splitlines())
            for line in expected:
                wanted = pattern(line)
                assert any(wanted.search(shown) for shown in rest), f"{command} does not say: {line}\n{done.stdout}"
            ran += 1
    assert ran
