"""OpenAPI documents: v3 per group version, and v2 for all of it.

Owns what the documents say. It must never touch the store: custom resources come as parameters.

    documents = Documents(load(36))
    documents.index()["apis/apps/v1"]; documents.v3("apis/apps/v1"); documents.v2()

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

from actors.apiserver.openapi._documents import CustomDocument, Documents

__all__ = ["CustomDocument", "Documents"]
