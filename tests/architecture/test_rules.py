"""The rules that keep the house in shape, held by reading the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("etcd", "apiserver", "client", "controllers", "scheduler", "kubelet", "runtime", "network", "recorder")
ABOVE = ("assembly", "cli", "cluster", "pytest_kubekka", "simulation")  # what is built of components
BELOW_THE_API = ("controllers", "scheduler", "kubelet", "network")


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Each imported module with its line; relative imports are made absolute."""
    tree = ast.parse(path.read_text())
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base]).rstrip(".")
            yield node.lineno, base
            if base == "actors":
                for alias in node.names:
                    yield node.lineno, f"actors.{alias.name}"


def test_the_protocol_imports_no_actor() -> None:
    wrong = [f"{p}:{line} {name}" for p in sources("protocol") for line, name in imports(p) if name.split(".")[0] in ("actors", *ABOVE)]
    assert not wrong


def test_the_kernel_imports_no_component() -> None:
    wrong = [f"{p}:{line} {n}" for p in sources("actors/kernel") for line, n in imports(p) if n.split(".")[0] in ABOVE or (n.startswith("actors.") and not n.startswith("actors.kernel"))]
    assert not wrong


@pytest.mark.parametrize("room", ROOMS)
def test_a_component_imports_no_other_component(room: str) -> None:
    allowed = {"kernel", room} | ({"client"} if room in BELOW_THE_API else set())
    wrong = []
    for path in sources(f"actors/{room}"):
        for line, name in imports(path):
            parts = name.split(".")
            if parts[0] in ABOVE or (parts[0] == "actors" and len(parts) > 1 and parts[1] not in allowed):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert not wrong


FORBIDDEN = {
    ("time", "time"), ("time", "sleep"), ("time", "monotonic"), ("time", "time_ns"),
    ("datetime", "now"), ("datetime", "utcnow"), ("date", "today"),
    ("uuid", "uuid4"), ("uuid", "uuid1"),
    ("random", "random"), ("random", "choice"), ("random", "randint"), ("random", "shuffle"), ("random", "randrange"),
    ("random", "uniform"), ("random", "sample"), ("secrets", "token_hex"), ("secrets", "token_bytes"), ("os", "urandom"),
}  # fmt: skip

# Modules that stand at the edge of the machine, each with the reason why the system's clock and
# chance are not theirs to use.
EDGES = {
    "actors/kernel/_clock.py": "makes the clock",
    "actors/kernel/_live.py": "seeds a live system",
    "actors/kernel/_timekeeper.py": "waits in real time until a virtual clock may move",
    "actors/runtime/_shim.py": "a process of its own, beside a container",
}


def test_time_and_chance_come_from_the_system() -> None:
    wrong = []
    for path in sources("actors") + sources("protocol"):
        name = str(path.relative_to(ROOT))
        if name in EDGES:
            continue
        tree = ast.parse(path.read_text())
        imported = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            owner = node.func.value
            owner_name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            root = owner.value if isinstance(owner, ast.Attribute) else owner
            if not isinstance(root, ast.Name) or root.id not in imported:
                continue  # self.random, a parameter: the system's
            if (owner_name, node.func.attr) in FORBIDDEN:
                wrong.append(f"{name}:{node.lineno} calls {owner_name}.{node.func.attr}")
    assert not wrong


def test_every_edge_still_exists() -> None:
    assert [edge for edge in EDGES if not (ROOT / edge).exists()] == []


def test_nothing_prints_outside_the_command_line() -> None:
    wrong = []
    for path in sources("actors") + sources("protocol"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def test_every_module_says_what_it_owns() -> None:
    silent = [str(p.relative_to(ROOT)) for f in ("actors", "protocol", "bench") for p in sources(f) if not ast.get_docstring(ast.parse(p.read_text()))]
    assert not silent
