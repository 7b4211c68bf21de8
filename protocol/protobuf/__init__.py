"""Kubernetes' binary wire: API objects as protocol buffers.

`decode(body)` turns `application/vnd.kubernetes.protobuf` into an object as JSON has it, `encode`
the reverse. What JSON leaves out when it is empty is present with its zero value in protobuf;
whoever reads a decoded object passes it through its typed decoder, which knows what may be empty.

`fields.tsv` has the numbers and types of the fields (facts of the wire format, Kubernetes 1.31 to
1.37), one message a line: its name, then `number name type` each. A type is `s`(tring), `b`(ytes),
`i`(nt32), `l`(int64), `t`(ruth), `d`(ouble) or a message; `*` repeated, `%` a map from text, `^` a
message whose fields are the outer one's own in JSON. A message name after `=` is its list in JSON.

https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
"""

from __future__ import annotations

from protocol.protobuf._codec import MAGIC, ProtobufError, can_encode, decode, encode

__all__ = ["MAGIC", "ProtobufError", "can_encode", "decode", "encode"]
