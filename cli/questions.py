"""What is asked of a service: JSON that says what it means, or a file of rows or a form sent as it is."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.prediction import predict_path, read_body, sample_body

JSON = "application/json"
CSV = "text/csv"
ROWS = (".csv", ".tsv")


@dataclass(frozen=True, slots=True)
class Question:
    """A body and its media type."""

    content: bytes
    media_type: str

    @classmethod
    def of_json(cls, body: object) -> "Question":
        """A document."""
        return cls(json.dumps(body).encode(), JSON)

    def with_fields(self, **fields: str | None) -> "Question":
        """The same with what else a durable prediction says of itself. Raises `CommandFailed` where it is no JSON."""
        said = {name: value for name, value in fields.items() if value is not None}
        if said and self.media_type != JSON:
            raise CommandFailed(f"Rows and forms name no {' nor '.join(said)}: send JSON.", exit_status=Exit.USAGE)
        return Question.of_json({**json.loads(self.content), **said}) if said else self


def read_question(given: Sequence[str], parts: Sequence[str], *, is_csv: bool) -> Question | None:
    """What the words of the command line ask; nothing where they are none. Raises `CommandFailed`."""
    if parts and (given or is_csv):
        raise CommandFailed("-F makes a form: give no other input beside it.", exit_status=Exit.USAGE)
    if parts:
        return form([_part(word) for word in parts])
    match given:
        case ["-"] if is_csv:
            return Question(sys.stdin.buffer.read(), CSV)
        case [word] if word.startswith("@") and (is_csv or Path(word).suffix.lower() in ROWS):
            return Question(_read(Path(word[1:])), CSV)
    if is_csv:
        raise CommandFailed("--csv takes rows: say @FILE, or - for stdin.", exit_status=Exit.USAGE)
    return Question.of_json(read_body(list(given))) if given else None


def ask(
    platform: Platform, name: str, part: str | None, asked: Question | None, on_error: str | None, timeout_s: float
) -> None:
    """Print the answer to a question, or to the sample of the model or of its part: rows as they come, JSON to be read.

    Raises `CommandFailed`.
    """
    question = asked or Question.of_json(sample_body(platform, name, part))
    answer = platform.send(
        "POST",
        predict_path(name, part),
        question.content,
        query={} if on_error is None else {"on_error": on_error},
        headers={"content-type": question.media_type},
        timeout_s=timeout_s,
    )
    if answer.headers.get("content-type", "").startswith(CSV):
        print(answer.body.decode(), end="", flush=True)
    else:
        print(json.dumps(answer.document, ensure_ascii=False, indent=2))


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form, a file where it has a file's name."""

    name: str
    content: bytes
    file_name: str | None = None


def form(parts: Sequence[Part]) -> Question:
    """A form of several parts (RFC 7578)."""
    boundary = uuid4().hex
    content = b""
    for part in parts:
        about = f'form-data; name="{_quoted(part.name)}"'
        if part.file_name is not None:
            about += f'; filename="{_quoted(part.file_name)}"'
        content += f"--{boundary}\r\nContent-Disposition: {about}\r\n\r\n".encode() + part.content + b"\r\n"
    return Question(content + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}")


def _part(word: str) -> Part:
    name, equals, value = word.partition("=")
    if not name or not equals:
        raise CommandFailed(f"A part of a form is NAME=VALUE or NAME=@FILE, not {word!r}.", exit_status=Exit.USAGE)
    if not value.startswith("@"):
        return Part(name, value.encode())
    file = Path(value[1:])
    return Part(name, _read(file), file.name)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read ({error.strerror}).", exit_status=Exit.USAGE) from error


def _quoted(text: str) -> str:
    """As browsers write it in a header."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
