"""The Watch service of an etcd."""

from __future__ import annotations

from actors.etcd._core import Core
from actors.kernel import Ref, Terminated, handles
from protocol.etcd import CancelWatch, RemoveWatcher, Watch, WatchProgress, WatchResponse
from protocol.message import Message

__all__ = ["WatchRequests"]


class _ReportProgress(Message, frozen=True):
    """To itself: watchers may want to hear how far they are."""


class WatchRequests(Core):
    """Handles what concerns watches."""

    def begin(self) -> None:
        super().begin()
        self.every(self.config.progress_notify_interval_s, _ReportProgress())

    @handles(Watch)
    def watch(self, message: Watch) -> WatchResponse:
        """Open a watch; see `protocol.etcd.Watch`."""
        response = self._watchers.add(message)
        address = message.watcher
        if isinstance(address, Ref) and address.actor_urn not in self._monitored:
            self._monitored.add(address.actor_urn)
            self.monitor(address)
        self.wake_watchers()
        return response

    @handles(CancelWatch)
    def cancel_watch(self, message: CancelWatch) -> None:
        """Close a watch, if there is one."""
        response = self._watchers.cancel(message.watcher, message.watch_id)
        if response is not None:
            self._send(message.watcher, response)

    @handles(WatchProgress)
    def watch_progress(self, message: WatchProgress) -> None:
        """Tell a watcher how far all its watches are."""
        self._watchers.request_progress(message.watcher)
        self.wake_watchers()

    @handles(RemoveWatcher)
    def remove_watcher(self, message: RemoveWatcher) -> None:
        """Close all watches of one watcher."""
        self._watchers.remove_address(message.watcher.actor_urn)

    @handles(Terminated)
    def _terminated(self, message: Terminated) -> None:
        self._monitored.discard(message.actor_urn)
        self._watchers.remove_address(message.actor_urn)

    @handles(_ReportProgress)
    def _report_progress(self, _: _ReportProgress) -> None:
        self._watchers.report_progress()
