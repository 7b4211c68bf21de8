"""API Priority and Fairness: who is served first when there is more to do than seats to do it in.

Owns the matching of requests with FlowSchemas, the seats of PriorityLevelConfigurations, their queues,
and what levels lend each other. A request holds its seat while it waits for something (a store, a
webhook, another server); the many that are answered at once take and return theirs within one turn of
the loop. Clients inside this process are not queued. It must never look at what a request says.

https://kubernetes.io/docs/concepts/cluster-administration/flow-control/ and KEP-1040
"""

from __future__ import annotations

from actors.apiserver.flowcontrol._control import Flow, FlowControl, Rejected

__all__ = ["Flow", "FlowControl", "Rejected"]
