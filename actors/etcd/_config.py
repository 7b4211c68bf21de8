"""How an etcd is set up: one frozen value, every default with its unit and its origin."""

from __future__ import annotations

from pathlib import Path

from protocol.message import Message

__all__ = ["DEFAULT_QUOTA_BYTES", "EtcdConfig"]

DEFAULT_QUOTA_BYTES = 2 * 1024**3


class EtcdConfig(Message, frozen=True, kw_only=True):
    """Settings of one `Etcd` actor.

    Without `data_dir` everything lives in memory and requests are answered at once. With it,
    whatever was acknowledged is on disk.
    """

    data_dir: Path | None = None
    unsafe_no_fsync: bool = False
    """Acknowledge before the disk has the change: a crash of the machine (not of the process)
    can lose acknowledged writes."""
    name: str = "default"
    client_urls: tuple[str, ...] = ()
    """What `member list` says; where the server listens is not this actor's affair."""
    peer_urls: tuple[str, ...] = ("http://localhost:2380",)
    quota_bytes: int = DEFAULT_QUOTA_BYTES
    """Above this much stored, writes are refused and the NOSPACE alarm stands; below 0: never."""
    max_request_bytes: int = 1_572_864
    max_txn_ops: int = 128
    progress_notify_interval_s: float = 600.0
    auto_compaction_revisions: int = 0
    """Keep at least so many revisions and compact the rest now and then; 0: never."""
    snapshot_wal_bytes: int = 64 * 1024**2
    """Write a snapshot once the log has grown by this much, and forget the log before it."""
