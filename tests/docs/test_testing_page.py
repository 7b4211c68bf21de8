"""The examples of docs/testing.md run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
BLOCK = re.compile(r"^```python file=(\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_examples_pass(pytester: pytest.Pytester) -> None:
    for library in ("kopf", "kubernetes", "lightkube"):
        pytest.importorskip(library)
    examples = dict(BLOCK.findall(PAGE.read_text()))
    assert {"garden.py", "test_garden.py", "test_clients.py", "test_webhook.py"} == set(examples)
    for name, text in examples.items():
        (pytester.path / name).write_text(text)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=7)
