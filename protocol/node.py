"""Messages between the API server and a node: what `kubectl logs, exec, attach, port-forward, top`
become once the API server has authorised them.

A node's kubelet tells the API server where it can be reached (`NodeConnected`); from then on the
API server asks that address. A stream (exec, attach, port-forward, followed logs) is a sequence of
`StreamData` in both directions under one `stream_id` that the opener chose, ended by
`StreamClosed`; each side sends to the other's address, in order.

Channel numbers and the final status follow the remote command protocol `v4.channel.k8s.io`:
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

from typing import Any

from protocol.http import HttpCall, HttpReply
from protocol.message import Address, Message

__all__ = [
    "ERROR",
    "RESIZE",
    "STDERR",
    "STDIN",
    "STDOUT",
    "NodeAnswer",
    "NodeCall",
    "NodeConnected",
    "NodeDisconnected",
    "NodeGet",
    "NodeResponse",
    "PodAttach",
    "PodCgroups",
    "PodExec",
    "PodLogs",
    "PodPortForward",
    "PodProcesses",
    "PodRun",
    "StreamClosed",
    "StreamData",
    "StreamOpened",
]

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
"""Channels of a remote command. A port-forward uses 2*i for the data and 2*i+1 for the errors of
its i-th port, as the websocket sub-protocol `portforward.k8s.io` does."""


class NodeConnected(Message, frozen=True):
    """Told to the API server by a kubelet once its Node object exists: "reach me at `address`".

    A later message for the same node replaces the earlier one.
    """

    node_name: str
    address: Address


class NodeDisconnected(Message, frozen=True):
    """Told to the API server when a kubelet leaves; ignored unless `address` is the current one."""

    node_name: str
    address: Address


class PodLogs(Message, frozen=True):
    """Ask a node for a container's log.

    Fields mean what the query parameters of the pod's `log` subresource mean. Without `follow` the
    answer is the log as bytes. With `follow` the answer is `StreamOpened`; what is there and what
    comes is told to `peer` as `StreamData` on channel STDOUT, then `StreamClosed`.
    `since_time` is in seconds since the epoch. Raises `StatusError` (400) as upstream words it,
    e.g. `container "c" in pod "p" is waiting to start: ContainerCreating`.
    """

    namespace: str
    pod: str
    container: str
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since_seconds: int | None = None
    since_time: float | None = None
    tail_lines: int | None = None
    limit_bytes: int | None = None
    peer: Address | None = None
    stream_id: int = 0


class PodExec(Message, frozen=True):
    """Run `command` in a container. Answered by `StreamOpened`; the end is a `StreamClosed` whose
    status is Success, or a Failure with reason NonZeroExitCode and the code in its causes."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]
    peer: Address
    stream_id: int
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class PodAttach(Message, frozen=True):
    """Join the main process of a container: its output from now on, and its standard input."""

    namespace: str
    pod: str
    container: str
    peer: Address
    stream_id: int
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class PodPortForward(Message, frozen=True):
    """Connect to `ports` of a pod, each port a pair of channels. Answered by `StreamOpened`."""

    namespace: str
    pod: str
    ports: tuple[int, ...]
    peer: Address
    stream_id: int


class PodRun(Message, frozen=True):
    """Run a command in a container to its end: answered by its output and errors as bytes. Raises
    `StatusError` when it fails."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...]


class PodCgroups(Message, frozen=True):
    """Ask a node which control groups a pod has: answered by a dict from path to version (`v1`,
    `v2`) to file name to content."""

    namespace: str
    pod: str


class PodProcesses(Message, frozen=True):
    """Ask a node for the processes of a pod ("" for all of its pods): answered by a tuple of
    `protocol.cri.ProcessEntry`."""

    namespace: str = ""
    pod: str = ""


class NodeGet(Message, frozen=True):
    """GET a path of the kubelet's own API (`/healthz`, `/pods`, `/stats/summary`,
    `/metrics/resource`, `/configz`, ...). Answered by `NodeResponse`. `node`: for one who answers for several."""

    path: str
    query: str = ""
    node: str = ""


class NodeResponse(Message, frozen=True):
    """What the kubelet's API answers: HTTP status, media type, body."""

    status: int
    content_type: str
    body: bytes


class NodeCall(Message, frozen=True):
    """Any request for the kubelet's own API, by its path there. Who may, has been decided. Answered by `NodeAnswer`.
    `node`: for one who answers for several."""

    call: HttpCall
    node: str = ""


class NodeAnswer(Message, frozen=True):
    """The HTTP answer. Of a streaming one, `feeder` is to be told `StreamClosed` when the client goes."""

    reply: HttpReply
    feeder: Address | None = None


class StreamOpened(Message, frozen=True):
    """A stream stands. Send its input to `address`."""

    stream_id: int
    address: Address


class StreamData(Message, frozen=True):
    """Bytes on one channel of a stream. Sent towards the node with `eof` when the input ends
    (data may then be empty); RESIZE carries the JSON `{"Width": w, "Height": h}`."""

    stream_id: int
    channel: int
    data: bytes
    eof: bool = False


class StreamClosed(Message, frozen=True):
    """The stream is over, for both directions. `status` is a `Status` object (ends of commands)
    or None. Either side may send it; the side that receives it does not answer."""

    stream_id: int
    status: dict[str, Any] | None = None
