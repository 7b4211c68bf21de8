"""The cluster's DNS: names of Services, their endpoints and pods.

`Zone` holds the names as data, `ClusterDns` keeps them in step with the API and answers, `serve`
answers on real sockets. https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from actors.network.dns._actor import ClusterDns, Query
from actors.network.dns._search import ResolvConf, candidates
from actors.network.dns._zone import Answer, Record, Zone

__all__ = ["Answer", "ClusterDns", "Query", "Record", "ResolvConf", "Zone", "candidates"]
