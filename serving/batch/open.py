"""The door to batches: the allocators are told their ways before pyarrow is imported."""

import argparse
import ctypes
import os
from typing import Final

# Arrow's allocator: one arena for all threads, and what is free is kept for the next chunk, which is as large. With an
# arena for each thread the peak depends on which of them have read a chunk, and creeps up by a tenth in an hour.
JEMALLOC: Final = "narenas:1,tcache:false,dirty_decay_ms:10000"
# The C library's likewise, for numpy: see mallopt(3). Else its threshold of what is given back at once grows with each
# block that is, up to 32 MiB.
MALLOPT: Final = {"M_TRIM_THRESHOLD": (-1, 2**20), "M_MMAP_THRESHOLD": (-3, 2**18), "M_ARENA_MAX": (-8, 1)}


def run_plan(options: argparse.Namespace) -> int:
    """See `command.run_batch`."""
    _keep_memory_flat()
    from serving.batch.command import run_batch

    return run_batch(options)


def _keep_memory_flat() -> None:
    # Arrow's usual allocator reserves a gigabyte at its first use, and the system's has no end of holes where the texts
    # of many columns are read: for each, Arrow first takes as much memory as all columns have together.
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "jemalloc"
    os.environ["JE_ARROW_MALLOC_CONF"] = JEMALLOC
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)
