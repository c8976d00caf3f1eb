"""When Python looks for garbage: the launcher makes that rare, as suits a command that ends soon; this is the rest."""

import gc

from portside.launcher import USUAL_THRESHOLDS


def settle() -> None:
    """For a process that has started and stays: look as Python usually does, but not through what the start has made.

    No collection shall walk through that while predictions wait.
    """
    gc.freeze()
    gc.set_threshold(*USUAL_THRESHOLDS)
    gc.enable()
