"""The store, what it begins with, and who records it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from actors.kernel import ActorSystem, Child, Ref
from assembly.config import ClusterConfig
from protocol.etcd import Put, Range, Txn

__all__ = ["STORE_OPENS_S", "fill_store", "finish_recording", "import_state", "start_recorder", "start_store"]

STORE_OPENS_S = 300.0  # reading a large write-ahead log takes its time
PUTS_PER_TXN = 100  # etcd takes 128 operations in one


def start_store(system: ActorSystem, config: ClusterConfig) -> Ref:
    """The etcd actor, or the one that speaks with real etcd servers.

    Raises: `etcd`'s errors about the data directory.
    """
    from actors.etcd import Etcd, EtcdConfig

    if config.etcd_servers:
        from actors.etcd import RemoteConfig, RemoteEtcd

        remote = RemoteConfig(
            servers=config.etcd_servers,
            ca_file=config.etcd_ca_file,
            cert_file=config.etcd_cert_file,
            key_file=config.etcd_key_file,
        )
        return system.spawn(Child("etcd", lambda: RemoteEtcd(remote)), host="etcd")
    data_dir = None if config.data_dir is None else config.data_dir / "etcd"
    settings = EtcdConfig(data_dir=data_dir, unsafe_no_fsync=config.unsafe_no_fsync)
    return system.spawn(Child("etcd", lambda: Etcd(settings)), host="etcd")


def fill_store(etcd: Ref, pairs: Iterable[tuple[bytes, bytes]]) -> None:
    """Put keys and values into a store, some in each transaction."""
    puts = [Put(key, value) for key, value in pairs]
    for first in range(0, len(puts), PUTS_PER_TXN):
        etcd.ask(Txn(success=tuple(puts[first : first + PUTS_PER_TXN])), timeout=STORE_OPENS_S)


def import_state(etcd: Ref, config: ClusterConfig) -> None:
    """Begin with the objects of another cluster, if any are given.

    Raises: ValueError when the store holds a cluster already, or for what is no object.
    """
    if not config.state:
        return
    from actors.apiserver.importing import import_objects

    if etcd.ask(Range(b"/registry/", b"/registry0", limit=1), timeout=STORE_OPENS_S).kvs:
        raise ValueError("the store holds a cluster already; another one's state can only be the beginning of a new one")
    fill_store(etcd, import_objects(config.state, config.minor).pairs)


def start_recorder(system: ActorSystem, config: ClusterConfig, etcd: Ref) -> Ref | None:
    """The actor that records everything, if asked for. Raises: OSError when it cannot write."""
    if config.record is None:
        return None
    from actors.recorder import Recorder

    with config.record.open("ab"):  # says at once what the actor would run into
        pass
    recorder = partial(Recorder, config.record, etcd, config.minor)
    return system.spawn(Child("recorder", recorder), host="recorder")


def finish_recording(recorder: Ref | None) -> None:
    """Have everything that was seen in the file."""
    if recorder is not None and recorder.is_alive():
        from actors.recorder import FinishRecording

        recorder.ask(FinishRecording(), timeout=STORE_OPENS_S)
