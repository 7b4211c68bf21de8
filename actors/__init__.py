"""Every component of the cluster is an actor; one folder per component.

A folder imports `protocol`, `actors.kernel` and (below the API server) `actors.client`, never its
neighbour: what a component needs of another it asks for in a message. `cluster.py` alone wires
them together.
"""
