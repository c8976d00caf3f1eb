"""The state room on SQLite and on a real PostgreSQL."""
