"""The `portside` command, and the one place where a process is composed from rooms.

May import: everything. Client verbs import typer, rich and httpx2 only (`apply` and `-o yaml` yaml, too); servers are
imported by the command that starts them.
"""
