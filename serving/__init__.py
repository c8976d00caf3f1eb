"""The model server: one model, one process, answers predictions.

Lives here: reading model files (`engines/`), validating and scoring, the HTTP server and the inference protocols.
May import: nothing of ours outside this room; it is an island with its own dependency set and is started as a process.
Must never: touch a database, know about tenants or operations, open an outbound connection.
"""
