"""What a caller can do wrong, as RFC 9457 problem details.

`Problem` is raised anywhere between bytes and bytes; the HTTP edge and the `test` command render it, each in its way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

MAX_FIELD_ERRORS = 20  # enough to see the pattern; a million bad cells must not make a million-line answer

TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    404: "Not found",
    405: "Method not allowed",
    408: "The request took too long to arrive",
    413: "The body is too large",
    415: "Unsupported content type",
    417: "The expectation cannot be met",
    422: "The request was refused",
    431: "The request head is too large",
    499: "The client has gone",
    500: "Internal error",
    503: "Not ready",
    504: "The prediction took too long",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one value: `pointer` is an RFC 6901 JSON pointer into the request body."""

    pointer: str
    detail: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        """The entry of `errors` in a problem document."""
        body = {"pointer": self.pointer, "detail": self.detail}
        if self.hint:
            body["hint"] = self.hint
        return body


class Problem(Exception):
    """A request that cannot be answered as it stands."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.hint = status, code, detail, hint
        self.errors, self.headers = tuple(errors), dict(headers or {})

    def as_json(self) -> dict[str, object]:
        """The problem document without `instance`."""
        body: dict[str, object] = {
            "type": f"urn:portside:problem:{self.code}",
            "title": TITLES.get(self.status, "The request was refused"),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        if self.hint:
            body["hint"] = self.hint
        if self.errors:
            body["errors"] = [error.as_json() for error in self.errors]
        return body


def encode_problem(problem: Problem, instance: str, request_id: str = "") -> bytes:
    """The bytes of an `application/problem+json` body; `instance` is the request's path, `request_id` the gateway's."""
    named = {"request_id": request_id} if request_id else {}
    return msgspec.json.encode({**problem.as_json(), "instance": instance, **named})


@dataclass(slots=True)
class FieldErrors:
    """Collects what is wrong with a request, up to `MAX_FIELD_ERRORS`, and counts the rest."""

    found: list[FieldError] = field(default_factory=list)
    count: int = 0
    renamed: Callable[[str], str] = str  # a pointer as the caller would write it

    @property
    def is_full(self) -> bool:
        """Whether looking further tells the caller nothing more."""
        return len(self.found) >= MAX_FIELD_ERRORS

    def add(self, pointer: str, detail: str, hint: str = "") -> None:
        """Note one error."""
        self.count += 1
        if not self.is_full:
            self.found.append(FieldError(self.renamed(pointer), detail, hint))

    def raise_if_any(self) -> None:
        """Raise the `invalid_input` problem when anything was noted."""
        if not self.count:
            return
        first = self.found[0]
        more = "" if self.count == 1 else f" (and {'at least ' if self.is_full else ''}{self.count - 1} more)"
        raise Problem(422, "invalid_input", f"{first.pointer or 'The body'}: {first.detail}{more}", errors=self.found)


def invalid_input(pointer: str, detail: str, hint: str = "") -> Problem:
    """The problem of one wrong value."""
    where = pointer or "The body"
    return Problem(422, "invalid_input", f"{where}: {detail}", errors=(FieldError(pointer, detail, hint),))


def pointer_token(name: str) -> str:
    """A name as a part of a JSON pointer; absurdly long names are cut."""
    return shorten(name).replace("~", "~0").replace("/", "~1")


def shorten(text: str, limit: int = 80) -> str:
    """Text short enough to be repeated in an error message."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
