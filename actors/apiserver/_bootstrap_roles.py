"""The default roles and bindings, as a compact table.

A rule is `VERBS GROUPS RESOURCES [NAMES]`, comma separated, `-` for the core group; or `VERBS PATHS`
for paths. Data only; source: the reference of default roles and the published bootstrap policy.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["role_objects"]

Object = dict[str, Any]
_API = "rbac.authorization.k8s.io/v1"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_ANNOTATIONS = {"rbac.authorization.kubernetes.io/autoupdate": "true"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

_READ = "get,list,watch"
_WRITE = "create,delete,deletecollection,patch,update"
_ALL = "create,delete,deletecollection,get,list,patch,update,watch"
_EVENTS = "create,patch,update -,events.k8s.io events"

_ROLES: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("* * *", "* *"),
    "system:discovery": (
        "get /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/",
    ),
    "system:public-info-viewer": ("get /healthz,/livez,/readyz,/version,/version/",),
    "system:monitoring": (
        "get /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/*",
    ),
    "system:basic-user": (
        "create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews",
        "create authentication.k8s.io selfsubjectreviews",
    ),
    "system:auth-delegator": (
        "create authentication.k8s.io tokenreviews",
        "create authorization.k8s.io subjectaccessreviews",
    ),
    "system:service-account-issuer-discovery": (
        "get /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,/openid/v1/jwks/",
    ),
    "system:kubelet-api-admin": (f"{_READ} - nodes", "proxy - nodes", "* - nodes/log,nodes/metrics,nodes/proxy,nodes/stats"),
    "system:node-bootstrapper": ("create,get,list,watch certificates.k8s.io certificatesigningrequests",),
    "system:node-problem-detector": ("get - nodes", "patch - nodes/status", _EVENTS),
    "system:node-proxier": (
        "list,watch - endpoints,services", f"{_READ} - nodes", _EVENTS,
        "list,watch discovery.k8s.io endpointslices", "list,watch networking.k8s.io servicecidrs",
    ),
    "system:kube-dns": ("list,watch - endpoints,services",),
    "system:kube-aggregator": (f"{_READ} - endpoints,services",),
    "system:heapster": (f"{_READ} - events,namespaces,nodes,pods", f"{_READ} extensions deployments"),
    "system:persistent-volume-provisioner": (
        f"create,delete,{_READ} - persistentvolumes", f"{_READ},update - persistentvolumeclaims",
        f"{_READ} storage.k8s.io storageclasses", "watch - events", _EVENTS,
    ),
    "system:volume-scheduler": (
        f"{_READ},patch,update - persistentvolumes", f"{_READ} storage.k8s.io storageclasses",
        f"{_READ},patch,update - persistentvolumeclaims",
    ),
    "system:kube-controller-manager": (
        _EVENTS, "create coordination.k8s.io leases", "get,update coordination.k8s.io leases kube-controller-manager",
        "create - secrets,serviceaccounts", "delete - secrets", "get - configmaps,namespaces,secrets,serviceaccounts",
        "update - secrets,serviceaccounts", "create authentication.k8s.io tokenreviews",
        "create authorization.k8s.io subjectaccessreviews", "list,watch * *", "create - serviceaccounts/token",
    ),
    "system:kube-scheduler": (
        _EVENTS, "create coordination.k8s.io leases", "get,list,watch coordination.k8s.io leases",
        "get,update coordination.k8s.io leases kube-scheduler", f"{_READ} - nodes", f"delete,{_READ} - pods",
        "create - bindings,pods/binding", "patch,update - pods/status", f"{_READ} - replicationcontrollers,services",
        f"{_READ} apps,extensions replicasets", f"{_READ} apps statefulsets", f"{_READ} policy poddisruptionbudgets",
        f"{_READ} - persistentvolumeclaims,persistentvolumes", "create authentication.k8s.io tokenreviews",
        "create authorization.k8s.io subjectaccessreviews", f"{_READ} storage.k8s.io csinodes",
        f"{_READ} - namespaces", f"{_READ} storage.k8s.io csidrivers", f"{_READ} storage.k8s.io csistoragecapacities",
        f"{_READ} storage.k8s.io volumeattachments",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": (
        "create certificates.k8s.io certificatesigningrequests/nodeclient",
    ),
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": (
        "create certificates.k8s.io certificatesigningrequests/selfnodeclient",
    ),
    "system:certificates.k8s.io:kube-apiserver-client-approver": (
        "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client",
    ),
    "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver": (
        "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet",
    ),
    "system:certificates.k8s.io:kubelet-serving-approver": (
        "approve certificates.k8s.io signers kubernetes.io/kubelet-serving",
    ),
    "system:certificates.k8s.io:legacy-unknown-approver": (
        "approve certificates.k8s.io signers kubernetes.io/legacy-unknown",
    ),
    "system:node": (
        "create authentication.k8s.io tokenreviews",
        "create authorization.k8s.io localsubjectaccessreviews,subjectaccessreviews",
        f"{_READ} - services", f"create,{_READ} - nodes", "patch,update - nodes/status", "patch,update - nodes",
        "create,patch,update - events", f"{_READ} - pods", "create,delete - pods", "patch,update - pods/status",
        "create - pods/eviction", f"{_READ} - configmaps,secrets", "get - persistentvolumeclaims,persistentvolumes",
        "get - endpoints", "create,get,list,watch certificates.k8s.io certificatesigningrequests",
        "create,delete,get,patch,update coordination.k8s.io leases", "get storage.k8s.io volumeattachments",
        "create - serviceaccounts/token", "get,patch,update - persistentvolumeclaims/status",
        f"{_READ} storage.k8s.io csidrivers", "create,delete,get,patch,update storage.k8s.io csinodes",
        f"{_READ} node.k8s.io runtimeclasses",
    ),
}

_DEVICES_SINCE = 34
_DEVICES: dict[str, tuple[str, ...]] = {
    "system:kube-scheduler": (
        f"{_READ} resource.k8s.io deviceclasses", f"{_READ},patch,update resource.k8s.io resourceclaims",
        f"{_READ},patch,update resource.k8s.io resourceclaims/status", f"{_READ},patch,update - pods/finalizers",
        f"{_READ} resource.k8s.io resourceslices",
    ),
    "system:node": ("get resource.k8s.io resourceclaims", "deletecollection resource.k8s.io resourceslices"),
}
"""What a role allows besides, from the minor version on that serves dynamic resource allocation by default."""

_CONTROLLERS: dict[str, tuple[str, ...]] = {
    "attachdetach-controller": (
        "list,watch - persistentvolumeclaims,persistentvolumes", f"{_READ} - nodes", "patch,update - nodes/status",
        "list,watch - pods", f"create,delete,{_READ} storage.k8s.io volumeattachments",
        f"{_READ} storage.k8s.io csidrivers", f"{_READ} storage.k8s.io csinodes",
    ),
    "certificate-controller": (
        f"delete,{_READ} certificates.k8s.io certificatesigningrequests",
        "update certificates.k8s.io certificatesigningrequests/approval,certificatesigningrequests/status",
        "approve certificates.k8s.io signers kubernetes.io/kube-apiserver-client-kubelet",
        "sign certificates.k8s.io signers kubernetes.io/kube-apiserver-client,"
        "kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,kubernetes.io/legacy-unknown",
        "create authorization.k8s.io subjectaccessreviews",
    ),
    "clusterrole-aggregation-controller": (
        f"escalate,{_READ},patch,update {_RBAC} clusterroles",
    ),
    "cronjob-controller": (
        f"{_READ},update batch cronjobs", f"create,delete,{_READ},patch,update batch jobs",
        "update batch cronjobs/finalizers,cronjobs/status", "delete,list - pods",
    ),
    "daemon-set-controller": (
        f"{_READ} apps,extensions daemonsets", "update apps,extensions daemonsets/status",
        "update apps,extensions daemonsets/finalizers", "list,watch - nodes", "create,delete,list,patch,watch - pods",
        "create - pods/binding", f"create,delete,{_READ},patch,update apps controllerrevisions",
    ),
    "deployment-controller": (
        f"{_READ},update apps,extensions deployments", "update apps,extensions deployments/status",
        "update apps,extensions deployments/finalizers",
        f"create,delete,{_READ},patch,update apps,extensions replicasets", f"{_READ},update - pods",
    ),
    "disruption-controller": (
        f"{_READ} apps,extensions deployments", f"{_READ} apps,extensions replicasets",
        f"{_READ} - replicationcontrollers", f"{_READ} policy poddisruptionbudgets", f"{_READ} apps statefulsets",
        "update policy poddisruptionbudgets/status", "patch,update - pods/status", "get * */scale",
    ),
    "device-taint-eviction-controller": (
        "delete,get,list,watch - pods", "patch - pods/status", f"{_READ} resource.k8s.io resourceclaims",
        f"{_READ} resource.k8s.io deviceclasses,devicetaintrules,resourceslices",
        "patch,update resource.k8s.io devicetaintrules/status",
    ),
    "endpoint-controller": (
        f"{_READ} - pods,services", f"create,delete,{_READ},update - endpoints", "create - endpoints/restricted",
    ),
    "endpointslice-controller": (
        f"{_READ} - nodes,pods,services", "update - services/finalizers",
        f"create,delete,{_READ},update discovery.k8s.io endpointslices", "create discovery.k8s.io endpointslices/restricted",
    ),
    "endpointslicemirroring-controller": (
        f"{_READ} - endpoints,services", "update - services/finalizers", "update - endpoints/finalizers",
        f"create,delete,{_READ},update discovery.k8s.io endpointslices", "create discovery.k8s.io endpointslices/restricted",
    ),
    "ephemeral-volume-controller": (
        f"{_READ} - pods", "update - pods/finalizers", "create,get,list,watch - persistentvolumeclaims",
    ),
    "expand-controller": (
        f"{_READ},patch,update - persistentvolumes", "patch,update - persistentvolumeclaims/status",
        f"{_READ} - persistentvolumeclaims", f"{_READ} storage.k8s.io storageclasses",
    ),
    "generic-garbage-collector": (f"delete,{_READ},patch,update * *",),
    "horizontal-pod-autoscaler": (
        f"{_READ} autoscaling horizontalpodautoscalers", "update autoscaling horizontalpodautoscalers/status",
        "get,update * */scale", "list - pods", "list metrics.k8s.io pods", "get,list custom.metrics.k8s.io *",
        "get,list external.metrics.k8s.io *",
    ),
    "job-controller": (
        f"{_READ},patch,update batch jobs", "update batch jobs/status", "update batch jobs/finalizers",
        "create,delete,list,patch,watch - pods",
    ),
    "kube-apiserver-serving-clustertrustbundle-publisher": (
        "attest certificates.k8s.io signers kubernetes.io/kube-apiserver-serving",
        "create,delete,list,update,watch certificates.k8s.io clustertrustbundles",
    ),
    "legacy-service-account-token-cleaner": (
        "get - configmaps kube-apiserver-legacy-service-account-token-tracking", "delete,patch - secrets",
    ),
    "namespace-controller": (
        f"delete,{_READ} - namespaces", "update - namespaces/finalize,namespaces/status",
        "delete,deletecollection,get,list * *",
    ),
    "node-controller": (
        f"delete,{_READ},patch,update - nodes", "patch,update - nodes/status", "patch,update - pods/status",
        "delete,list,watch - pods", f"{_READ} networking.k8s.io clustercidrs",
    ),
    "persistent-volume-binder": (
        f"create,delete,{_READ},update - persistentvolumes", "update - persistentvolumes/status",
        f"{_READ},update - persistentvolumeclaims", "update - persistentvolumeclaims/status",
        f"create,delete,{_READ} - pods", f"{_READ} storage.k8s.io storageclasses",
        "create,delete,get,update - endpoints,services", "get,list - secrets", f"{_READ} - nodes",
    ),
    "pod-garbage-collector": ("delete,list,watch - pods", "get,list - nodes", "patch - pods/status"),
    "podcertificaterequestcleaner": (f"delete,{_READ} certificates.k8s.io podcertificaterequests",),
    "pv-protection-controller": (f"{_READ},update - persistentvolumes",),
    "pvc-protection-controller": (f"{_READ},update - persistentvolumeclaims", f"{_READ} - pods"),
    "replicaset-controller": (
        f"{_READ},update apps,extensions replicasets", "update apps,extensions replicasets/status",
        "update apps,extensions replicasets/finalizers", "create,delete,list,patch,watch - pods",
    ),
    "replication-controller": (
        f"{_READ},update - replicationcontrollers", "update - replicationcontrollers/status",
        "update - replicationcontrollers/finalizers", "create,delete,list,patch,watch - pods",
    ),
    "resource-claim-controller": (
        f"{_READ} - pods", "update - pods/finalizers", f"create,delete,{_READ} resource.k8s.io resourceclaims",
        f"{_READ} resource.k8s.io resourceclaimtemplates", "patch,update resource.k8s.io resourceclaims,resourceclaims/status",
        "patch,update - pods/status",
    ),
    "resourcequota-controller": ("list,watch * *", "update - resourcequotas/status"),
    "root-ca-cert-publisher": ("create,update - configmaps",),
    "route-controller": ("list,watch - nodes", "patch - nodes/status"),
    "selinux-warning-controller": (f"{_READ} - persistentvolumeclaims,persistentvolumes,pods",
                                   f"{_READ} storage.k8s.io csidrivers"),
    "service-account-controller": ("create - serviceaccounts",),
    "service-cidrs-controller": (
        f"{_READ},patch,update networking.k8s.io servicecidrs", "patch,update networking.k8s.io servicecidrs/finalizers",
        "patch,update networking.k8s.io servicecidrs/status", f"{_READ} networking.k8s.io ipaddresses",
    ),
    "service-controller": (f"{_READ} - services", "patch,update - services/status", "list,watch - nodes"),
    "statefulset-controller": (
        f"{_READ} - pods", f"{_READ} apps statefulsets", "update apps statefulsets/status",
        "update apps statefulsets/finalizers", "create,delete,get,patch,update - pods",
        f"create,delete,{_READ},patch,update apps controllerrevisions", "create,delete,get,update - persistentvolumeclaims",
    ),
    "storage-version-migrator-controller": (
        "list,patch * *", "update storagemigration.k8s.io storageversionmigrations/status",
        f"{_READ} storagemigration.k8s.io storageversionmigrations",
        f"{_READ} apiextensions.k8s.io customresourcedefinitions",
    ),
    "taint-eviction-controller": ("delete,get,list,watch - pods", "get,list,watch - nodes", "patch,update - pods/status"),
    "ttl-after-finished-controller": (f"delete,{_READ} batch jobs",),
    "ttl-controller": ("list,patch,update,watch - nodes",),
    "validatingadmissionpolicy-status-controller": (
        f"{_READ} admissionregistration.k8s.io validatingadmissionpolicies",
        "get,patch,update admissionregistration.k8s.io validatingadmissionpolicies/status",
    ),
    "volumeattributesclass-protection-controller": (
        f"{_READ},update storage.k8s.io volumeattributesclasses", f"{_READ} - persistentvolumeclaims,persistentvolumes",
    ),
}

_CONTROLLERS_SINCE = {
    "device-taint-eviction-controller": 36,
    "kube-apiserver-serving-clustertrustbundle-publisher": 37,
    "podcertificaterequestcleaner": 37,
    "storage-version-migrator-controller": 37,
}
"""The minor version from which a controller runs by default, and has a role."""

_AGGREGATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "system:aggregate-to-admin": (
        "admin",
        ("create authorization.k8s.io localsubjectaccessreviews", f"{_ALL} {_RBAC} rolebindings,roles"),
    ),
    "system:aggregate-to-edit": (
        "edit",
        (
            f"{_READ} - pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy",
            "impersonate - serviceaccounts",
            f"{_WRITE} - pods,pods/attach,pods/exec,pods/portforward,pods/proxy",
            "create - pods/eviction",
            f"{_WRITE} - configmaps,events,persistentvolumeclaims,replicationcontrollers,"
            "replicationcontrollers/scale,secrets,serviceaccounts,services,services/proxy",
            "create - serviceaccounts/token",
            f"{_WRITE} apps daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,"
            "replicasets/scale,statefulsets,statefulsets/scale",
            f"{_WRITE} autoscaling horizontalpodautoscalers",
            f"{_WRITE} batch cronjobs,jobs",
            f"{_WRITE} extensions daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,"
            "networkpolicies,replicasets,replicasets/scale,replicationcontrollers/scale",
            f"{_WRITE} policy poddisruptionbudgets",
            f"{_WRITE} networking.k8s.io ingresses,networkpolicies",
            f"{_ALL} coordination.k8s.io leases",
            f"{_WRITE} resource.k8s.io resourceclaims,resourceclaimtemplates",
        ),
    ),
    "system:aggregate-to-view": (
        "view",
        (
            f"{_READ} - configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"
            "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status",
            f"{_READ} - bindings,events,limitranges,namespaces/status,pods/log,pods/status,"
            "replicationcontrollers/status,resourcequotas,resourcequotas/status",
            f"{_READ} - namespaces",
            f"{_READ} discovery.k8s.io endpointslices",
            f"{_READ} apps controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"
            "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,statefulsets/scale,"
            "statefulsets/status",
            f"{_READ} autoscaling horizontalpodautoscalers,horizontalpodautoscalers/status",
            f"{_READ} batch cronjobs,cronjobs/status,jobs,jobs/status",
            f"{_READ} extensions daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,"
            "ingresses,ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,"
            "replicationcontrollers/scale",
            f"{_READ} policy poddisruptionbudgets,poddisruptionbudgets/status",
            f"{_READ} networking.k8s.io ingresses,ingresses/status,networkpolicies",
            f"{_READ} resource.k8s.io resourceclaims,resourceclaims/status,resourceclaimtemplates",
        ),
    ),
}
_AGGREGATED = {"admin": "", "edit": "admin", "view": "edit"}

_BINDINGS: dict[str, tuple[str, ...]] = {
    "cluster-admin": ("Group system:masters",),
    "system:monitoring": ("Group system:monitoring",),
    "system:discovery": ("Group system:authenticated",),
    "system:public-info-viewer": ("Group system:authenticated", "Group system:unauthenticated"),
    "system:basic-user": ("Group system:authenticated",),
    "system:node-proxier": ("User system:kube-proxy",),
    "system:kube-controller-manager": ("User system:kube-controller-manager",),
    "system:kube-dns": ("ServiceAccount kube-system kube-dns",),
    "system:kube-scheduler": ("User system:kube-scheduler",),
    "system:volume-scheduler": ("User system:kube-scheduler",),
    "system:service-account-issuer-discovery": ("Group system:serviceaccounts",),
    "system:node": (),
}

_LOCAL_ROLES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("kube-system", "extension-apiserver-authentication-reader",
     ("get,list,watch - configmaps extension-apiserver-authentication",),
     ("User system:kube-controller-manager", "User system:kube-scheduler")),
    ("kube-system", "system:controller:bootstrap-signer", (f"{_READ} - secrets",),
     ("ServiceAccount kube-system bootstrap-signer",)),
    ("kube-system", "system:controller:cloud-provider", ("create,get,list,watch - configmaps",),
     ("ServiceAccount kube-system cloud-provider",)),
    ("kube-system", "system:controller:token-cleaner", (f"delete,{_READ} - secrets", _EVENTS),
     ("ServiceAccount kube-system token-cleaner",)),
    ("kube-system", "system::leader-locking-kube-controller-manager",
     ("watch - configmaps", "get,update - configmaps kube-controller-manager"),
     ("User system:kube-controller-manager", "ServiceAccount kube-system kube-controller-manager")),
    ("kube-system", "system::leader-locking-kube-scheduler",
     ("watch - configmaps", "get,update - configmaps kube-scheduler"),
     ("User system:kube-scheduler", "ServiceAccount kube-system kube-scheduler")),
    ("kube-public", "system:controller:bootstrap-signer",
     (f"{_READ} - configmaps", "update - configmaps cluster-info", _EVENTS),
     ("ServiceAccount kube-system bootstrap-signer",)),
)


def _rule(text: str) -> Object:
    words = text.split(" ")
    verbs = words[0].split(",")
    if len(words) == 2:
        return {"verbs": verbs, "nonResourceURLs": words[1].split(",")}
    rule: Object = {
        "verbs": verbs,
        "apiGroups": ["" if group == "-" else group for group in words[1].split(",")],
        "resources": words[2].split(","),
    }
    if len(words) > 3:
        rule["resourceNames"] = words[3].split(",")
    return rule


def _subject(text: str) -> Object:
    words = text.split(" ")
    if words[0] == "ServiceAccount":
        return {"kind": "ServiceAccount", "name": words[2], "namespace": words[1]}
    return {"kind": words[0], "apiGroup": _RBAC, "name": words[1]}


def _meta(name: str, namespace: str = "", labels: Object | None = None) -> Object:
    meta: Object = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    meta["labels"] = {**_LABELS, **(labels or {})}
    meta["annotations"] = dict(_ANNOTATIONS)
    return meta


def _cluster_role(name: str, rules: tuple[str, ...], labels: Object | None = None) -> Object:
    return {
        "kind": "ClusterRole", "apiVersion": _API, "metadata": _meta(name, labels=labels),
        "rules": [_rule(text) for text in rules],
    }


def _cluster_binding(name: str, subjects: tuple[str, ...]) -> Object:
    obj: Object = {"kind": "ClusterRoleBinding", "apiVersion": _API, "metadata": _meta(name)}
    if subjects:
        obj["subjects"] = [_subject(text) for text in subjects]
    obj["roleRef"] = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
    return obj


def role_objects(minor: int = 36) -> Iterator[Object]:
    """All default roles and bindings of a minor version."""
    for name, rules in _ROLES.items():
        more = _DEVICES.get(name, ()) if minor >= _DEVICES_SINCE else ()
        yield _cluster_role(name, (*rules, *more))
    for name, target in _AGGREGATED.items():
        selector = {"matchLabels": {_AGGREGATE + name: "true"}}
        labels = {_AGGREGATE + target: "true"} if target else None
        yield {
            "kind": "ClusterRole", "apiVersion": _API, "metadata": _meta(name, labels=labels), "rules": None,
            "aggregationRule": {"clusterRoleSelectors": [selector]},
        }
    for name, (target, rules) in _AGGREGATES.items():
        yield _cluster_role(name, rules, {_AGGREGATE + target: "true"})
    for name, subjects in _BINDINGS.items():
        yield _cluster_binding(name, subjects)
    for short, rules in _CONTROLLERS.items():
        if minor < _CONTROLLERS_SINCE.get(short, 0):
            continue
        yield _cluster_role(f"system:controller:{short}", (*rules, _EVENTS))
        yield _cluster_binding(f"system:controller:{short}", (f"ServiceAccount kube-system {short}",))
    for namespace, name, rules, subjects in _LOCAL_ROLES:
        yield {
            "kind": "Role", "apiVersion": _API, "metadata": _meta(name, namespace),
            "rules": [_rule(text) for text in rules],
        }
        yield {
            "kind": "RoleBinding", "apiVersion": _API, "metadata": _meta(name, namespace),
            "subjects": [_subject(text) for text in subjects],
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        }
