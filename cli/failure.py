"""The one error that a command ends with on purpose, and the exit statuses that scripts can rely on."""

from collections.abc import Sequence
from enum import IntEnum


class Exit(IntEnum):
    """Exit statuses of every verb."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    AUTH = 5
    QUOTA = 6
    TIMEOUT = 124
    INTERRUPTED = 130


class CommandFailed(Exception):
    """What went wrong in one sentence; `details` are further lines: fields, the next step, the request's id.

    `path` is the resource that refused, where one did.
    """

    def __init__(
        self, message: str, *, details: Sequence[str] = (), exit_status: Exit = Exit.FAILED, path: str = ""
    ) -> None:
        super().__init__(message)
        self.message, self.details, self.exit_status, self.path = message, tuple(details), exit_status, path
