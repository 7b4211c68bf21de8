"""The cluster's DNS: names of Services, their endpoints and pods.

`Zone` holds the names as data, `ClusterDns` keeps them in step with the API and answers, `serve`
answers on real sockets. https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from actors.network.dns._actor import ClusterDns
from actors.network.dns._service import DNS_IP, DnsService
from actors.network.dns._zone import Zone
from protocol.dns import Answer, Query, Record
from protocol.resolv import ResolvConf, candidates

__all__ = ["DNS_IP", "Answer", "ClusterDns", "DnsService", "Query", "Record", "ResolvConf", "Zone", "candidates"]
