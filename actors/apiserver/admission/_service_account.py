"""ServiceAccount: every pod runs as one, and gets its token, the cluster's CA and its namespace mounted.

https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#serviceaccount
"""

from __future__ import annotations

from typing import Any

from actors.apiserver.admission._base import CREATE, Attributes, Plugin
from protocol import status

__all__ = ["ServiceAccount"]

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX = "kube-api-access-"
MIRROR = "kubernetes.io/config.mirror"
ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
# An hour and seven seconds: the kubelet renews at 80 %, and the odd number shows a bound token.
TOKEN_SECONDS = 3607
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"

Object = dict[str, Any]


class ServiceAccount(Plugin):
    """Defaults the account of a pod, refuses one that is missing, mounts its token."""

    name = "ServiceAccount"

    def handles(self, operation: str, group: str, resource: str, subresource: str) -> bool:
        """New pods."""
        return operation == CREATE and group == "" and resource == "pods" and not subresource

    def admit(self, attributes: Attributes) -> None:
        """Raise 403 when the account does not exist."""
        pod = attributes.object
        if pod is None:
            return
        spec = pod.setdefault("spec", {})
        if MIRROR in (pod["metadata"].get("annotations") or {}):
            self._check_mirror(attributes, spec)
            return
        if not spec.get("serviceAccountName"):
            spec["serviceAccountName"] = "default"
        spec["serviceAccount"] = spec["serviceAccountName"]
        account = self._account(attributes, spec["serviceAccountName"])
        if (account["metadata"].get("annotations") or {}).get(ENFORCE_SECRETS) in ("true", "True", "1", "t", "T"):
            self._check_secrets(attributes, spec, account)
        if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
        automount = spec.get("automountServiceAccountToken")
        if automount is None:
            automount = account.get("automountServiceAccountToken", True)
        if automount:
            self._mount(attributes, spec)

    def validate(self, attributes: Attributes) -> None:
        """The account must still be there after other plugins had their say."""
        spec = (attributes.object or {}).get("spec", {})
        if spec.get("serviceAccountName"):
            self._account(attributes, spec["serviceAccountName"])

    @staticmethod
    def _refuse(attributes: Attributes, why: str) -> Exception:
        return status.forbidden("", "pods", attributes.name, why)

    def _account(self, attributes: Attributes, name: str) -> Object:
        account = attributes.lookup.get("", "serviceaccounts", attributes.namespace, name)
        if account is None:
            raise self._refuse(
                attributes,
                f'error looking up service account {attributes.namespace}/{name}: serviceaccount "{name}" not found',
            )
        return account

    def _check_mirror(self, attributes: Attributes, spec: Object) -> None:
        if spec.get("serviceAccountName"):
            raise self._refuse(attributes, "a mirror pod may not reference service accounts")
        for volume in spec.get("volumes") or ():
            if "secret" in volume:
                raise self._refuse(attributes, "a mirror pod may not reference secrets")
            for source in (volume.get("projected") or {}).get("sources") or ():
                if "serviceAccountToken" in source:
                    raise self._refuse(attributes, "a mirror pod may not use ServiceAccountToken volume projections")

    def _check_secrets(self, attributes: Attributes, spec: Object, account: Object) -> None:
        """Only secrets that the account lists may be used."""
        allowed = {secret.get("name") for secret in account.get("secrets") or ()}
        name = account["metadata"]["name"]
        for volume in spec.get("volumes") or ():
            secret = (volume.get("secret") or {}).get("secretName")
            if secret is not None and secret not in allowed:
                raise self._refuse(
                    attributes,
                    f'volume with secret.secretName="{secret}" is not allowed because service account {name} does'
                    " not reference that secret",
                )
        for kind in ("initContainers", "containers"):
            for container in spec.get(kind) or ():
                for env in container.get("env") or ():
                    secret = ((env.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name")
                    if secret is not None and secret not in allowed:
                        word = "init container" if kind == "initContainers" else "container"
                        raise self._refuse(
                            attributes,
                            f"{word} {container.get('name')} with envVar {env.get('name')} referencing secret.secretName="
                            f'"{secret}" is not allowed because service account {name} does not reference that secret',
                        )

    def _mount(self, attributes: Attributes, spec: Object) -> None:
        volume_name, found = "", False
        taken = set()
        for volume in spec.get("volumes") or ():
            taken.add(volume.get("name"))
            if volume.get("name", "").startswith(VOLUME_PREFIX):
                volume_name, found = volume["name"], True
        while not volume_name:
            choice = attributes.lookup.random.choice
            name = VOLUME_PREFIX + "".join([choice(_SUFFIX) for _ in range(5)])
            volume_name = "" if name in taken else name
        mount = {"name": volume_name, "readOnly": True, "mountPath": MOUNT_PATH}
        needed = False
        for kind in ("initContainers", "containers"):
            for container in spec.get(kind) or ():
                mounts = container.get("volumeMounts") or []
                if any(m.get("mountPath") == MOUNT_PATH for m in mounts):
                    continue
                container["volumeMounts"] = [*mounts, dict(mount)]
                needed = True
        if needed and not found:
            spec["volumes"] = [*(spec.get("volumes") or ()), token_volume(volume_name)]


def token_volume(name: str) -> Object:
    """The projected volume of a token, the CA bundles and the namespace."""

    def bundle(config_map: str, key: str) -> Object:
        return {"configMap": {"name": config_map, "items": [{"key": key, "path": key}]}}

    namespace = {
        "path": "namespace",
        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
    }
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                bundle("kube-root-ca.crt", "ca.crt"),
                {"downwardAPI": {"items": [namespace]}},
                bundle("openshift-service-ca.crt", "service-ca.crt"),
            ],
            "defaultMode": 420,
        },
    }
