"""Conversations recorded from a real etcd, replayed against ours over both transports.

The recordings are kept outside this repository; without them there is nothing to replay.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "golden" / "etcd"
FILES = sorted(RECORDINGS.glob("[0-9]*.json"))

pytestmark = pytest.mark.skipif(not FILES, reason="no recorded conversations here")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program that comes with the recordings."""
    spec = importlib.util.spec_from_file_location("replay_etcd", RECORDINGS / "replay_etcd.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("transport", ["http", "grpc"])
@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_recorded_conversation(file: Path, transport: str, tool: ModuleType, serve: Any) -> None:
    conversation = json.loads(file.read_text())
    if transport == "grpc":
        pytest.importorskip("grpc")
        if "timing" in conversation["tags"]:
            pytest.skip("real seconds pass in this one; once is enough")
    port = serve().port
    speak = tool.GrpcT("127.0.0.1", port) if transport == "grpc" else tool.HttpT("127.0.0.1", port, "ws")
    runner = tool.Runner(speak, http_status=True)
    try:
        differences = [
            f"step {number} {step.get('path', step['op'])}: {difference}"
            for number, step in enumerate(conversation["steps"])
            if (difference := runner.step(step))
        ]
    finally:
        runner.close()
    assert not differences, "\n".join(differences)
