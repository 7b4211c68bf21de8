"""A client for verbs that speak with a running API server over HTTPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.client import HttpTransport, OutsideClient
from actors.kernel import Child, LiveSystem
from cli._errors import Failed, UsageError
from protocol.api import StatusError

__all__ = ["remote_client"]


@contextmanager
def remote_client(kubeconfig: Path, name: str = "kubekka-cli") -> Iterator[OutsideClient]:
    """A client of the API server that `kubeconfig` names, for the time of a `with` block. What
    the server refuses, and its absence, end the verb with a line.

    Raises: UsageError for a kubeconfig that is none; Failed.
    """
    system = LiveSystem(name).start_thread()
    try:
        try:
            transport = system.spawn(Child("transport", lambda: HttpTransport.from_kubeconfig(kubeconfig)))
        except ValueError as error:
            raise UsageError(f"{kubeconfig}: {error}") from None
        yield OutsideClient(system, transport, timeout_s=15.0)
    except StatusError as error:
        raise Failed(f"{error.reason}: {error.message}") from None
    finally:
        system.shutdown()
