"""One line of JSON per request, for who asks for it: a wrapper around the application, so it costs nothing when off."""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TextIO

import msgspec

from serving.messages import Application, Request, Response
from serving.problems import Problem

_LONGEST = 500  # of a path or an id, which a caller may make as long as a head may be


class LoggedApplication:
    """Answers as another application does, and writes a line for each answer."""

    def __init__(self, application: Application, out: TextIO) -> None:
        self._application, self._out = application, out

    def answer(self, request: Request) -> "Response | asyncio.Future[Response]":
        """See `messages.Application`."""
        begun = time.perf_counter()
        answer = self._application.answer(request)
        if isinstance(answer, Response):
            self._write(request, begun, answer)
        else:
            answer.add_done_callback(partial(self._ended, request, begun))
        return answer

    def refusal(self, problem: Problem) -> Response:
        """See `messages.Application`."""
        self._tell({"status": problem.status, "code": problem.code})
        return self._application.refusal(problem)

    def _ended(self, request: Request, begun: float, answer: "asyncio.Future[Response]") -> None:
        self._write(request, begun, None if answer.cancelled() else answer.result())

    def _write(self, request: Request, begun: float, response: Response | None) -> None:
        self._tell(
            {
                "method": _text(request.method),
                "target": _text(request.target),
                "status": 499 if response is None else response.status,
                "ms": round((time.perf_counter() - begun) * 1000, 3),
                "request_bytes": len(request.body),
                "response_bytes": 0 if response is None else len(response.body),
                "request_id": _text(request.headers.get(b"x-request-id", b"")),
            }
        )

    def _tell(self, facts: dict[str, object]) -> None:
        line = msgspec.json.encode({"time": timestamp(), "access": facts})
        write_line(self._out, line.decode())


def write_line(out: TextIO, line: str) -> None:
    """Write a line at once. A full disk under the log is no reason to answer nobody: then it is lost."""
    with suppress(OSError):
        out.write(line + "\n")
        out.flush()


def timestamp() -> str:
    """Now, in RFC 3339 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(data: bytes) -> str:
    return data[:_LONGEST].decode("utf-8", "replace")
