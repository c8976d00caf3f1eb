"""Our model server and gateway beside other model servers: same cores, same models, same load, one run.

Servers share one core, the load generator has the other. `theirs/` holds what runs inside the peers' own environments,
which have nothing of ours: it imports their packages and `benchmarks.peers.theirs` alone. `bare_…` and `empty` are
processes of their own that measure what a server adds; `empty` imports `serving`.
"""
