"""What every room may use: settings, errors, clock, ids, logs, secrets. A closed list.

May import: nothing of ours.
Must never: open a connection, read a setting at import, know a table or a route.
"""
