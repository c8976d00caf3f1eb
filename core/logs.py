"""Logging set-up: one line per record, with the ids of what it is about, as text for people or JSON for machines.

The ids travel by context: whatever is logged inside `log_context(...)` carries them, whoever logs it.
"""

import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from core.clock import rfc3339

LogFormat = Literal["pretty", "json"]
Ids = Mapping[str, str]

NOTHING: Final[Ids] = MappingProxyType({})
# A context variable has to be a module's own: each task and thread finds its own value in it.
_ids: Final[ContextVar[Ids]] = ContextVar("log_ids", default=NOTHING)


@contextmanager
def log_context(
    *,
    request_id: str | None = None,
    operation_id: str | None = None,
    prediction_id: str | None = None,
    delivery_id: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    resource_name: str | None = None,
    tenant_id: str | None = None,
) -> Iterator[None]:
    """Every line that is logged inside, by this task and those it starts, carries these ids beside the outer ones."""
    given = dict(locals())
    token = _ids.set({**_ids.get(), **_known(given)})
    try:
        yield
    finally:
        _ids.reset(token)


def note_in_log_context(
    *,
    operation_id: str | None = None,
    prediction_id: str | None = None,
    resource_type: str | None = None,
    resource_id: str | None = None,
    resource_name: str | None = None,
    tenant_id: str | None = None,
) -> None:
    """Add what is learnt only now to the context that this task is in; it ends where that one does."""
    given = dict(locals())
    _ids.set({**_ids.get(), **_known(given)})


def current_request_id() -> str | None:
    """The id of the request that what happens here was asked for by, where there is one."""
    return _ids.get().get("request_id")


def _known(given: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in given.items() if value is not None}


class PrettyFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO    workers.executor: what happened  request_id=… operation_id=…`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it."""
        record.message = record.getMessage()
        ids = "".join(f" {name}={_bare(value)}" for name, value in _ids.get().items())
        # A path or a message of somebody else's may have line breaks: they shall not look like lines of ours.
        said = record.message if record.message.isprintable() else record.message.encode("unicode_escape").decode()
        line = f"{_at(record)[:-4]}Z {record.levelname:<7} {record.name}: {said}{' ' if ids else ''}{ids}"
        traceback = _traceback(self, record)
        return line if traceback is None else f"{line}\n{traceback}"


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (RFC 3339, UTC), level, logger, message, the ids, the exception as text."""

    def format(self, record: logging.LogRecord) -> str:
        """Never more than one line: JSON escapes those of a traceback."""
        line: dict[str, object] = {
            "time": _at(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_ids.get(),
        }
        traceback = _traceback(self, record)
        if traceback is not None:
            line["exception"] = traceback
        return json.dumps(line, ensure_ascii=False)


class LogFile(logging.handlers.RotatingFileHandler):
    """A log that says on stderr, once, that it cannot be written (the disk is full), and goes on when it can."""

    is_written = True

    def flush(self) -> None:
        """Write out what there is."""
        super().flush()
        self.is_written = True

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the library calls it so)
        """Not with the traceback of each record, as the library does: whoever started us looks at a terminal."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif self.is_written:
            self.is_written = False
            with suppress(OSError):
                sys.stderr.write(
                    f"The log {self.baseFilename} cannot be written ({error.strerror}); the rest goes on.\n"
                )


def set_up_logs(level: str, file: Path | None, log_format: LogFormat = "pretty") -> None:
    """Send the platform's log to `file` (rotated at 20 MB, five kept) or, without one, to stderr."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = LogFile(file, maxBytes=20_000_000, backupCount=5, encoding="utf-8")
    handler.setFormatter(JsonFormatter() if log_format == "json" else PrettyFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("dramatiq", "urllib3", "httpx2", "httpcore2", "aiosqlite", "alembic", "asyncio", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def _at(record: logging.LogRecord) -> str:
    return rfc3339(int(record.created * 1_000_000))


def _bare(value: str) -> str:
    """As it is where that is one word, else quoted, so that a line can be taken apart again."""
    return value if value.isprintable() and " " not in value else json.dumps(value)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    if record.stack_info:
        parts.append(record.stack_info)
    return "\n".join(parts) or None
