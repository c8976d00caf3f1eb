"""What carries wake-ups: within one process, or over Redis between processes. The database decides what is due.

May import: core, and Dramatiq with its Redis client.
Must never: keep a message for its own sake, block the event loop, or be needed: a wake-up that is lost costs a poll
interval.
"""
