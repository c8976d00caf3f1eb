"""The door to batches: pyarrow's allocators are told their place before any of it is imported."""

import argparse
import os


def run_plan(options: argparse.Namespace) -> int:
    """See `command.run_batch`."""
    # Its usual one reserves a gigabyte at its first use, and the system's has no end of holes where the texts of many
    # columns are read: for each, Arrow first takes as much memory as all columns have together.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    from serving.batch.command import run_batch

    return run_batch(options)
