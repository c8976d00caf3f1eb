"""A batch: the rows of a dataset through a model, chunk by chunk, so that whoever is killed goes on where it was.

Lives here: the plan of a run, which column feeds which input, chunks scored by several threads, the files that they
become, and the talk with the platform: a chunk is reported, kept by it, and acknowledged.
May import: the rest of the island; only `python -m serving batch` imports this room, because of pyarrow.
Must never: keep a chunk that was not acknowledged, report one out of order, or let what it writes depend on anything
but the input, the plan and the versions.
"""
