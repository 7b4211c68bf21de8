"""JSONPath of printer columns, as upstream's library walks it."""

from __future__ import annotations

from typing import Any

import pytest

from actors.apiserver.crd._paths import PathProblem, find, parse

POD = {
    "status": {"conditions": [{"type": "Ready", "n": 1}, {"type": "Other", "n": 2}, {"n": 3}]},
    "metadata": {"labels": {"a.b/c": "x"}},
    "deep": {"r": [{"v": 1}, {"v": 2}]},
}
LIST = ".status.conditions"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".metadata.labels.a\\.b/c", ["x"]),
        (".metadata.labels['a\\.b/c']", ["x"]),
        ("{.metadata.labels.nope}", []),
        (LIST + '[?(@.type=="Ready")].n', [1]),
        (LIST + "[?(@.type!='Ready')].n", [2]),
        (LIST + "[?(@.n>=2)].n", [2, 3]),
        (LIST + "[?(@.type)].n", [1, 2]),
        (LIST + "[*].n", [1, 2, 3]),
        (LIST + "[-1].n", [3]),
        (LIST + "[0:2].n", [1, 2]),
        (LIST + "[::2].n", [1, 3]),
        (LIST + "[0,2].n", [1, 3]),
        ("..v", [1, 2]),
        (".deep.*[0].v", [1]),
    ],
)
def test_a_path_finds(path: str, values: list[Any]) -> None:
    assert find(path, POD) == values


@pytest.mark.parametrize("path", [LIST + "[7]", LIST + "[?(@.n==true)]", ".deep[0]", ".deep[?(@.r)]", LIST + "[2:1]"])
def test_what_a_value_cannot_give_is_a_problem(path: str) -> None:
    with pytest.raises(PathProblem):
        find(path, POD)


@pytest.mark.parametrize("path", ['["b"]', ".a[", ".a[?(@.b", "....a", ".a[x]", "'a"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(PathProblem):
        parse(path)
