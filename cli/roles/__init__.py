"""The platform in several processes: `portside api`, `worker`, `node`, `migrate`, each composed in one file here.

They meet in PostgreSQL, a broker and an artifact store that all of them reach; may import what `cli` may import.
"""
