"""One answer of `portside doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question. `note` is what to do, or nothing."""

    topic: str
    what: str
    is_fine: bool = True
    note: str = ""
    is_running: bool = False  # a platform runs on what was looked at
