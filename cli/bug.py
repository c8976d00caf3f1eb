"""Where the traceback of a bug goes, so that whoever meets it sees one sentence."""

import logging
import tempfile
import traceback

log = logging.getLogger(__name__)


def keep_traceback(error: Exception) -> str:
    """Where it lies: in the platform's log, or in a file of its own where there is no log."""
    if logging.getLogger().handlers:
        log.error("a bug of portside", exc_info=error)
        return "The log has the traceback."
    with tempfile.NamedTemporaryFile("w", prefix="portside-", suffix=".log", delete=False) as file:
        traceback.print_exception(error, file=file)
    return f"The traceback is in {file.name}."
