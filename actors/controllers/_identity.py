"""Who each controller is to the API server: the service account that kube-controller-manager gives it.

Their roles are `system:controller:NAME` (k8s.io/kubernetes: cmd/kube-controller-manager/app,
plugin/pkg/auth/authorizer/rbac/bootstrappolicy). Over HTTPS the credentials say who one is, and
this says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from actors.client import Client
from actors.controllers._reconcile import CONTROLLER_USER, USER_AGENT, Context
from actors.kernel import Actor
from protocol.api import UserInfo

__all__ = ["MANAGER_USER", "OwnContext", "account_of"]

MANAGER_USER = UserInfo("system:kube-controller-manager", ("system:authenticated",))
_GROUPS = ("system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated")
_ACCOUNTS = {
    "certificatesigningrequest-approving-controller": "certificate-controller",
    "certificatesigningrequest-cleaner-controller": "certificate-controller",
    "certificatesigningrequest-signing-controller": "certificate-controller",
    "daemonset-controller": "daemon-set-controller",
    "endpoints-controller": "endpoint-controller",
    "endpointslice-mirroring-controller": "endpointslicemirroring-controller",
    "garbage-collector-controller": "generic-garbage-collector",
    "horizontal-pod-autoscaler-controller": "horizontal-pod-autoscaler",
    "legacy-serviceaccount-token-cleaner-controller": "legacy-service-account-token-cleaner",
    "node-ipam-controller": "node-controller",
    "node-lifecycle-controller": "node-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher-controller": "kube-apiserver-serving-clustertrustbundle-publisher",
    "persistentvolume-attach-detach-controller": "attachdetach-controller",
    "persistentvolume-binder-controller": "persistent-volume-binder",
    "persistentvolume-expander-controller": "expand-controller",
    "persistentvolume-protection-controller": "pv-protection-controller",
    "persistentvolumeclaim-protection-controller": "pvc-protection-controller",
    "pod-garbage-collector-controller": "pod-garbage-collector",
    "podcertificaterequest-cleaner-controller": "podcertificaterequestcleaner",
    "bootstrap-signer-controller": "bootstrap-signer",
    "replicationcontroller-controller": "replication-controller",
    "resourceclaim-controller": "resource-claim-controller",
    "root-ca-certificate-publisher-controller": "root-ca-cert-publisher",
    "service-cidr-controller": "service-cidrs-controller",
    "service-lb-controller": "service-controller",
    "serviceaccount-controller": "service-account-controller",
    "token-cleaner-controller": "token-cleaner",
}
_AS_MANAGER = frozenset(("serviceaccount-token-controller",))
"""Controllers that work with the manager's own credentials."""


def account_of(controller: str) -> UserInfo:
    """The identity of a controller by its name in the registry."""
    if controller in _AS_MANAGER:
        return MANAGER_USER
    account = _ACCOUNTS.get(controller, controller)
    return UserInfo(f"system:serviceaccount:kube-system:{account}", _GROUPS)


@dataclass(frozen=True)
class OwnContext(Context):
    """A context whose clients write as the controller's own account. All controllers read through the
    manager, as its informers do."""

    def client(self, actor: Actor) -> Client:
        """A client bound to `actor`."""
        return Client(actor, self.apiserver, user=self.user, user_agent=USER_AGENT, reader=CONTROLLER_USER)
