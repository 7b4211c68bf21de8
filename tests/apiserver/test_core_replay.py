"""Exchanges recorded from the real API server, replayed: what matched once must go on matching.

The recordings live beside the project, in `../shared/golden`; without them this is skipped. Known
differences stand in `known_differences.json` beside this file, by recording and exchange; when one is
gone, take it off the list.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster import ApiServerProcess
from protocol.api import UserInfo

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden"
RECORDINGS = sorted((GOLDEN / "api").glob("*.json")) if (GOLDEN / "replay.py").exists() else []
KNOWN: dict[str, list[str]] = json.loads((Path(__file__).parent / "known_differences.json").read_text())
WORKERS = 6

pytestmark = pytest.mark.skipif(not RECORDINGS, reason="no recordings beside the project")


def replay_module() -> Any:
    spec = importlib.util.spec_from_file_location("golden_replay", GOLDEN / "replay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def differences() -> Iterator[dict[str, list[str]]]:
    """By recording: the exchanges that differ. All are replayed at once, since they mostly wait."""
    module = replay_module()
    server = ApiServerProcess(debug=True, apiserver={"tokens": {"golden": UserInfo("admin", ("system:masters",), "admin")}}).start()

    def run(path: Path) -> tuple[str, list[str]]:
        target = module.Server(server.url, token="golden", insecure=True, timeout=15.0)
        results = module.Replay(target, json.loads(path.read_text())).run()
        return path.name, [name for name, found, *_ in results if found]

    with ThreadPoolExecutor(WORKERS) as pool:
        yield dict(pool.map(run, RECORDINGS))
    server.stop()


@pytest.mark.parametrize("name", [path.name for path in RECORDINGS])
def test_a_recording_matches_but_for_its_known_differences(differences: dict[str, list[str]], name: str) -> None:
    assert sorted(set(differences[name]) - set(KNOWN.get(name, []))) == []
