"""A client for verbs that speak with a running API server over HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from actors.client import HttpTransport, OutsideClient, load_kubeconfig
from actors.kernel import Child, LiveSystem, Ref
from cli._errors import Failed, UsageError
from protocol.api import StatusError

__all__ = ["remote_client", "remote_system"]


@contextmanager
def remote_system(kubeconfig: Path, name: str = "kubekka-cli") -> Iterator[tuple[LiveSystem, Ref]]:
    """A system with a transport to the API server that `kubeconfig` names, for the time of a
    `with` block. What the server refuses, and its absence, end the verb with a line.

    Raises: UsageError for a kubeconfig that is none; Failed.
    """
    system = LiveSystem(name).start_thread()
    try:
        try:
            make = partial(HttpTransport, load_kubeconfig(kubeconfig))
            transport = system.spawn(Child("transport", make))
            _check(system, transport)
        except (ValueError, OSError) as error:
            told = str(error)
            raise UsageError(told if str(kubeconfig) in told else f"{kubeconfig}: {told}") from None
        yield system, transport
    except StatusError as error:
        if error.code == 503 and "cannot be reached" in error.message:
            other = "CERTIFICATE_VERIFY_FAILED" in error.message
            hint = f"{kubeconfig} is of another cluster" if other else f"is the cluster of {kubeconfig} running?"
            raise Failed(f"{error.message}; {hint}") from None
        raise Failed(f"{error.reason}: {error.message}") from None
    finally:
        system.shutdown()


def _check(system: LiveSystem, transport: Ref) -> None:
    """Whether it answers, and knows us. Raises: StatusError."""
    try:
        OutsideClient(system, transport, name="check", timeout_s=15.0).list("namespaces", limit="1")
    except StatusError as error:
        if error.code != 403:  # a node or a bootstrap token may not, and need not
            raise


@contextmanager
def remote_client(kubeconfig: Path) -> Iterator[OutsideClient]:
    """A client in such a system."""
    with remote_system(kubeconfig) as (system, transport):
        yield OutsideClient(system, transport, timeout_s=15.0)
