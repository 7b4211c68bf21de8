"""The refusals of etcd: gRPC codes and texts as the etcd v3 API documents them.

Owns no logic. Each function builds a fresh exception (an exception instance that is raised twice
would collect tracebacks). Texts and codes: etcd 3.6, `api/v3rpc/rpctypes`.
"""

from __future__ import annotations

from protocol.etcd import EtcdError

__all__ = [
    "INVALID_ARGUMENT",
    "DataDirError",
    "compacted",
    "corrupt",
    "duplicate_key",
    "empty_key",
    "future_revision",
    "invalid_sort_option",
    "key_not_found",
    "lease_exists",
    "lease_not_found",
    "lease_provided",
    "lease_ttl_too_large",
    "no_space",
    "request_too_large",
    "stopped",
    "too_many_ops",
    "value_provided",
]

INVALID_ARGUMENT = 3
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
OUT_OF_RANGE = 11
UNAVAILABLE = 14
DATA_LOSS = 15

EMPTY_WATCH_RANGE = "mvcc: watcher range is empty"
DUPLICATE_WATCH_ID = "mvcc: duplicate watch ID provided on the WatchStream"
NEGATIVE_WATCH_START = "etcdserver: mvcc: required revision has been compacted"


def empty_key() -> EtcdError:
    """A key of no bytes."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: key is not provided")


def key_not_found() -> EtcdError:
    """`ignore_value` or `ignore_lease` on a missing key; also an operation without content."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: key not found")


def value_provided() -> EtcdError:
    """A value together with `ignore_value`."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: value is provided")


def lease_provided() -> EtcdError:
    """A lease together with `ignore_lease`."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: lease is provided")


def too_many_ops() -> EtcdError:
    """More compares or operations than a transaction may have."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: too many operations in txn request")


def duplicate_key() -> EtcdError:
    """One key written twice on a path of a transaction."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request")


def invalid_sort_option() -> EtcdError:
    """A sort order or target that does not exist."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: invalid sort option")


def request_too_large() -> EtcdError:
    """A request above the size limit."""
    return EtcdError(INVALID_ARGUMENT, "etcdserver: request is too large")


def compacted() -> EtcdError:
    """A revision whose history is gone."""
    return EtcdError(OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted")


def future_revision() -> EtcdError:
    """A revision that does not exist yet."""
    return EtcdError(OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision")


def no_space() -> EtcdError:
    """The quota is used up, or its alarm stands."""
    return EtcdError(RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


def lease_not_found() -> EtcdError:
    """No lease of that id."""
    return EtcdError(NOT_FOUND, "etcdserver: requested lease not found")


def lease_exists() -> EtcdError:
    """A lease of that id stands already."""
    return EtcdError(FAILED_PRECONDITION, "etcdserver: lease already exists")


def lease_ttl_too_large() -> EtcdError:
    """A time to live above 9,000,000,000 seconds."""
    return EtcdError(OUT_OF_RANGE, "etcdserver: too large lease TTL")


def stopped() -> EtcdError:
    """The store has stopped: shut down, or its disk failed."""
    return EtcdError(UNAVAILABLE, "etcdserver: server stopped")


def corrupt() -> EtcdError:
    """The CORRUPT alarm stands."""
    return EtcdError(DATA_LOSS, "etcdserver: corrupt cluster")


class DataDirError(Exception):
    """The data directory cannot be used: in use by another process, damaged, not writable. The
    text is for a person and names the file."""
