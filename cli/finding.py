"""One answer of `portside doctor`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to one question. `note` is what to do, or nothing."""

    topic: str
    what: str
    is_fine: bool = True
    note: str = ""
    running: int | None = None  # the process of the platform that runs on what was looked at; 0: it does not say
