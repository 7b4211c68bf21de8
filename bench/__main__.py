"""`python -m bench NAME`: run one benchmark."""

from __future__ import annotations

import importlib
import sys

NAMES = ("messages", "etcd", "api", "scheduler", "converge", "nodes", "proxy")


def main(argv: list[str]) -> int:
    """Run the benchmark named first in `argv` with the rest as its options."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m bench NAME [--quick] [--json FILE] [--plot FILE]\nNAME: {' '.join(NAMES)}")
        return 0 if argv else 2
    if argv[0] not in NAMES:
        print(f"no benchmark named {argv[0]!r}; there are: {' '.join(NAMES)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"bench.{argv[0]}")
    result: int = module.main(argv[1:])
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
