"""The network of a node: Services turned into packet rules.

`KubeProxy` keeps a node's rules in step with Services and EndpointSlices; `iptables_cli.render`
is the same computation without a cluster.
"""

from actors.network.kubeproxy import GetRules, HealthCheck, KubeProxy

__all__ = ["GetRules", "HealthCheck", "KubeProxy"]
