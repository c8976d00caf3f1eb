"""The `portside` command, and the one place where a process is composed from rooms.

May import: everything. Client verbs import typer and rich (`apply` and `-o yaml` yaml, too), and httpx2 for what is
streamed or asked of another machine; servers are imported by the command that starts them.
"""
