"""Reads and row-only writes, one module per resource; every function takes a session and never commits."""
