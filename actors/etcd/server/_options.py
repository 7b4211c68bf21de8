"""The options of the `etcd` command; imports nothing that takes time."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["main_options"]

DEFAULT_URL = "http://127.0.0.1:2379"


def main_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the `etcd` command. Names that etcd has too mean the same."""
    parser.add_argument("--name", default="default", help="this member's name")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="keep data here; without it, in memory only")
    parser.add_argument(
        "--listen-client-urls",
        default=DEFAULT_URL,
        metavar="URLS",
        help=f"addresses to serve on, separated by commas; port 0 picks one (default {DEFAULT_URL})",
    )
    parser.add_argument(
        "--advertise-client-urls",
        metavar="URLS",
        help="addresses that the member list names (default: where it listens)",
    )
    parser.add_argument("--cert-file", type=Path, metavar="FILE", help="certificate for https")
    parser.add_argument("--key-file", type=Path, metavar="FILE", help="key for https")
    parser.add_argument(
        "--trusted-ca-file",
        type=Path,
        metavar="FILE",
        help="demand client certificates that this authority signed",
    )
    parser.add_argument(
        "--unsafe-no-fsync",
        action="store_true",
        help="acknowledge before the disk has a change: faster, but a crash of the machine "
        "(not of the process) can lose acknowledged writes",
    )
    parser.add_argument("--quota-backend-bytes", type=int, default=0, metavar="N", help="0: 2 GiB; below 0: none")
    parser.add_argument("--max-txn-ops", type=int, default=128, metavar="N")
    parser.add_argument("--max-request-bytes", type=int, default=1_572_864, metavar="N")
    parser.add_argument(
        "--auto-compaction-revisions",
        type=int,
        default=0,
        metavar="N",
        help="keep at least so many revisions and compact the rest now and then; 0: never",
    )
    parser.add_argument(
        "--snapshot-wal-bytes",
        type=int,
        default=64 * 1024**2,
        metavar="N",
        help="write a snapshot once the log has grown by this much",
    )
