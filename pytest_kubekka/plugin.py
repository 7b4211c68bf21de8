"""Options, fixtures and hooks of the plugin.

| fixture | what it is |
|---|---|
| `kubekka` | a `Cluster` of this test's own, started in milliseconds, gone afterwards |
| `kubekka_session` | one `Cluster` for the whole run (for each worker with pytest-xdist) |
| `kubekka_namespace` | the name of a fresh namespace in `kubekka_session`, deleted afterwards |
| `kubekka_simulation` | a `SimulatedCluster`: virtual time, faults, repeatable from its seed |

While one of the served clusters is in use, `KUBECONFIG` points at it, so that clients which log in
by default meet it and no other cluster. A test says what it needs by
`@pytest.mark.kubekka(nodes=5, minor=35, ...)`: any field of `cluster.ClusterConfig`.
"""

from __future__ import annotations

import os
import re
import shlex
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from cluster import Cluster, SimulatedCluster

LAST_MESSAGES = 2_000  # records kept for a failure's report
FIXTURES = ("kubekka", "kubekka_session", "kubekka_simulation")
SEED_BITS = 31
RUN_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, each with an ini setting of the same name."""
    group = parser.getgroup("kubekka", "Kubernetes clusters in tests")
    for name, metavar, text, default in (
        ("nodes", "N", "nodes of each cluster (3)", "3"),
        ("version", "1.X", "the Kubernetes version to be, 1.31 to 1.37 (1.36)", "1.36"),
        ("seed", "N", "what each test's seed is derived from, or `random` (0)", "0"),
    ):
        group.addoption(f"--kubekka-{name}", metavar=metavar, default=None, help=text)
        parser.addini(f"kubekka_{name}", text, default=default)


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before any test runs. Raises: UsageError."""
    config.addinivalue_line(
        "markers", "kubekka(**settings): settings of the clusters of this test, as fields of cluster.ClusterConfig"
    )
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist has the seed of its parent
        config.stash[RUN_SEED] = config.workerinput["kubekka_seed"]
    else:
        config.stash[RUN_SEED] = _run_seed(_option(config, "seed"))
    _from_options(config)


def pytest_report_header(config: pytest.Config) -> str | None:
    """The run's seed, when it is not the usual one."""
    return f"kubekka: seed {config.stash[RUN_SEED]}" if config.stash[RUN_SEED] else None


class _Workers:
    """Tells the workers of pytest-xdist the seed of the run."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["kubekka_seed"] = node.config.stash[RUN_SEED]


def pytest_plugin_registered(plugin: object, manager: pytest.PytestPluginManager) -> None:
    """Join pytest-xdist when it is there."""
    if not manager.has_plugin("kubekka-workers"):
        manager.register(_Workers(), "kubekka-workers")


def _option(config: pytest.Config, name: str) -> str:
    given = config.getoption(f"kubekka_{name}")
    return str(config.getini(f"kubekka_{name}") if given is None else given)


def _run_seed(text: str) -> int:
    if text == "random":
        return int.from_bytes(os.urandom(4), "big") >> (32 - SEED_BITS)
    if not text.isdecimal():
        raise pytest.UsageError(f"--kubekka-seed takes a number or `random`, not {text!r}")
    return int(text)


def _from_options(config: pytest.Config) -> dict[str, Any]:
    """The settings that the command line and the ini file give. Raises: UsageError."""
    nodes, version = _option(config, "nodes"), _option(config, "version")
    if not nodes.isdecimal():
        raise pytest.UsageError(f"--kubekka-nodes takes a number of nodes, not {nodes!r}")
    match = re.fullmatch(r"v?1\.(3[1-7])(\.\d+)?", version)
    if match is None:
        raise pytest.UsageError(f"--kubekka-version takes 1.31 to 1.37, not {version!r}")
    return {"nodes": int(nodes), "minor": int(match[1])}


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options, overridden by the marks of the test from the outermost to its own."""
    from cluster import ClusterConfig

    settings = _from_options(request.config)
    known = {field.name for field in fields(ClusterConfig)}
    for mark in reversed(list(request.node.iter_markers("kubekka"))):
        unknown = sorted(set(mark.kwargs) - known)
        if mark.args or unknown:
            wrong = unknown[0] if unknown else repr(mark.args[0])
            raise pytest.UsageError(
                f"{request.node.nodeid}: the mark kubekka knows no {wrong}; it takes {', '.join(sorted(known))}"
            )
        settings.update(mark.kwargs)
    return {"seed": _seed(request.config, request.node.nodeid), **settings}


def _seed(config: pytest.Config, node_id: str) -> int:
    """A seed of this test's own, from the run's: it stays when other tests come and go."""
    return zlib.crc32(f"{config.stash[RUN_SEED]} {node_id}".encode()) >> (32 - SEED_BITS)


@contextmanager
def _served(settings: dict[str, Any]) -> Iterator[Cluster]:
    """A running cluster that KUBECONFIG points at."""
    from actors.kernel import Tracer
    from cluster import Cluster

    with Cluster(tracer=Tracer(capacity=LAST_MESSAGES), **settings) as cluster:
        before = os.environ.get("KUBECONFIG")
        os.environ["KUBECONFIG"] = str(cluster.kubeconfig)
        try:
            yield cluster
        finally:
            if before is None:
                del os.environ["KUBECONFIG"]
            else:
                os.environ["KUBECONFIG"] = before


@pytest.fixture
def kubekka(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of this test's own: `.apply`, `.wait`, `.client`, `.kubectl`, `.kubeconfig`."""
    with _served(_settings(request)) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubekka_session(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One cluster for the whole run; marks do not reach it, the options do."""
    seed = _seed(request.config, "session")
    with _served({"seed": seed, **_from_options(request.config)}) as cluster:
        yield cluster


@pytest.fixture
def kubekka_namespace(request: pytest.FixtureRequest, kubekka_session: Cluster) -> Iterator[str]:
    """The name of a namespace of this test's own in the cluster of the run."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{words or 'test'}-{zlib.crc32(request.node.nodeid.encode()):08x}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    kubekka_session.apply(manifest)
    kubekka_session.wait("serviceaccounts/default", namespace=name)
    yield name
    kubekka_session.client.delete("namespaces", name)
    kubekka_session.wait(f"namespaces/{name}", "deleted")


@pytest.fixture
def kubekka_simulation(request: pytest.FixtureRequest) -> SimulatedCluster:
    """A cluster in virtual time, with faults: the same history for the same seed."""
    from actors.kernel import Tracer
    from cluster import SimulatedCluster

    return SimulatedCluster(tracer=Tracer(capacity=LAST_MESSAGES), **_settings(request))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test is shown what its clusters look like, before they are gone."""
    report = yield
    if report.failed and call.when != "teardown":
        from pytest_kubekka._report import describe

        for name in FIXTURES:
            cluster = getattr(item, "funcargs", {}).get(name)
            if cluster is not None:
                report.sections.append((name, describe(cluster, _replay(item))))
    return report


def _replay(item: pytest.Item) -> str:
    """The command line that runs this test again with the same seeds."""
    given = [f"--kubekka-seed={item.config.stash[RUN_SEED]}"]
    for name in ("nodes", "version"):
        value = item.config.getoption(f"kubekka_{name}")
        if value is not None:
            given.append(f"--kubekka-{name}={value}")
    return f"pytest {shlex.quote(item.nodeid)} {' '.join(given)}"
