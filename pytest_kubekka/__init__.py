"""The pytest plugin: fixtures that start clusters, and what a failed test is told about its cluster.

`plugin` holds the options, the fixtures and the hooks; `_report` makes text of a cluster.
"""
