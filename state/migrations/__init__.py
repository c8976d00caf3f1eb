"""One Alembic history for SQLite and PostgreSQL: expand, backfill, contract. Never edit a released migration."""
