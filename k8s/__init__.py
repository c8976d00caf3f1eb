"""The cluster: the only room that will know a Kubernetes client.

May import: core. Knows no tables. Nothing lives here yet; services run on this machine's node.
"""
