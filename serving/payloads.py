"""Keeps a share of the predictions with their bodies, for who looks for drift or a strange answer. Off by default.

What is kept is what callers sent and were told, in full up to a limit: it may be personal data.
"""

import asyncio
import base64
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import msgspec

from serving.access_log import timestamp, write_line
from serving.messages import Application, Request, Response
from serving.problems import Problem

MOST_BODY_BYTES: Final = 16 * 1024
MOST_FILE_BYTES: Final = 64 * 1024 * 1024  # then the file begins anew; the one before is kept beside it
_KEPT = (b"/predict", b"/infer", b":predict", b"/ModelInfer")


class SampledApplication:
    """Answers as another application does, and keeps some of what was asked and answered."""

    def __init__(
        self, application: Application, rate: float, keep: Callable[[bytes], None], seed: int | None = None
    ) -> None:
        self._application, self._rate, self._keep = application, rate, keep
        self._random = random.Random(seed)  # noqa: S311  (which ones are kept is no secret)

    def answer(self, request: Request) -> "Response | asyncio.Future[Response]":
        """See `messages.Application`."""
        answer = self._application.answer(request)
        is_prediction = request.method == b"POST" and request.target.partition(b"?")[0].endswith(_KEPT)
        if is_prediction and self._random.random() < self._rate:
            if isinstance(answer, Response):
                self._sample(request, answer)
            else:
                answer.add_done_callback(partial(self._ended, request))
        return answer

    def refusal(self, problem: Problem) -> Response:
        """See `messages.Application`."""
        return self._application.refusal(problem)

    def _ended(self, request: Request, answer: "asyncio.Future[Response]") -> None:
        if not answer.cancelled():
            self._sample(request, answer.result())

    def _sample(self, request: Request, response: Response) -> None:
        facts = {
            "target": request.target[:500].decode("utf-8", "replace"),
            "request_id": request.headers.get(b"x-request-id", b"")[:500].decode("utf-8", "replace"),
            "status": response.status,
            "request": _told(request.body, request.headers.get(b"content-type", b"").decode("latin-1")),
            "response": _told(response.body, response.content_type),
        }
        self._keep(msgspec.json.encode({"time": timestamp(), "payload": facts}) + b"\n")


class BoundedFile:
    """A file of lines that begins anew when it is full; the one before stays beside it as `….1`."""

    def __init__(self, path: Path, most_bytes: int = MOST_FILE_BYTES) -> None:
        """Raises OSError where it cannot be written."""
        self._path, self._most_bytes = path, most_bytes
        self._file = path.open("ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Append a line, if there is room on the disk."""
        with suppress(OSError):
            self._append(line)

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _append(self, line: bytes) -> None:
        if self._file.tell() + len(line) > self._most_bytes and self._file.tell():
            self._file.close()
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._file = self._path.open("ab", buffering=0)
        self._file.write(line)


def log_lines(out: TextIO) -> Callable[[bytes], None]:
    """Keep the lines in the log, which bounds its own size."""

    def keep(line: bytes) -> None:
        write_line(out, line.decode().rstrip("\n"))

    return keep


def _told(body: bytes, content_type: str) -> dict[str, object]:
    """A body as text where it is some, up to a limit."""
    head = body[:MOST_BODY_BYTES]
    told: dict[str, object] = {"bytes": len(body), "content_type": content_type[:200]}
    if b"\0" in head:
        return {**told, "base64": base64.b64encode(head).decode()}
    return {**told, "text": head.decode("utf-8", "replace")}
