"""etcd's own API on the network: gRPC and the JSON gateway on one port, plain or with TLS.

`main_options` and `run` are what the command line calls.
"""

from actors.etcd.server._run import main_options, run

__all__ = ["main_options", "run"]
