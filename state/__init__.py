"""What is true: statuses, legal moves, tables, transactions, claims and queries.

May import: core. The only room that knows SQLAlchemy.
Must never: call a network service, know a route or a handler, or be bypassed by anybody who wants to change a status.
"""
