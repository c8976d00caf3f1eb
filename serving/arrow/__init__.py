"""Arrow IPC streams as inputs and outputs.

Lives here: reading a stream as typed columns, writing answers as one, and what bounds a hostile one.
May import: what the rest of the model server may, and pyarrow, which nothing else imports; others come in by `open.py`.
Must never: let what a stream says of its own size decide how much memory it takes.
"""
