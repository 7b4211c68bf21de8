"""The language that actors speak.

Frozen message types grouped by who receives them (`etcd`, `api`, `cri`), the msgpack wire they
travel on between processes (`wire`), and the Kubernetes kinds and their schema (`kinds`,
`schema`). Nothing here imports from `actors`.
"""
