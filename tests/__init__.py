"""The tests mirror the rooms; beside them `architecture/`, `contracts/`, `crash/`, `e2e/` and `fixtures/`.

A package, so that another distribution's stray top-level `tests` can never take its place.
"""
