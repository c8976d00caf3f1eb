"""The door to batches: pyarrow's allocators are told their place before any of it is imported."""

import argparse
import os


def run_plan(options: argparse.Namespace) -> int:
    """See `command.run_batch`."""
    # Its own allocators keep what they once had, and reserve a gigabyte at their first use.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
    from serving.batch.command import run_batch

    return run_batch(options)
