"""The one tree of errors that our callers can meet; each knows its HTTP status and its stable code.

PlatformError
├─ Rejected        400 401 403 408 413 415 422  the caller is wrong
│   ├─ InvalidField, UnknownField, InvalidArtifact, FormatNotServed, TooLarge, Incomplete, MalformedBody, BodyStalled
│   ├─ Unauthenticated, Forbidden
│   └─ IdempotencyKeyReused
├─ NotFound        404                       also for what belongs to another tenant
├─ Conflict        409 412                   IllegalMove, NameTaken, InUse, StaleEtag, IdempotencyInProgress
└─ Unavailable     503 504 507               StoreUnavailable, DatabaseBusy, DatabaseFull, DiskFull, …
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field: `pointer` is an RFC 6901 JSON pointer into the request body."""

    pointer: str
    detail: str
    hint: str = ""

    def as_json(self) -> dict[str, Json]:
        """The entry of `errors` in a problem document."""
        body: dict[str, Json] = {"pointer": self.pointer, "detail": self.detail}
        if self.hint:
            body["hint"] = self.hint
        return body


class PlatformError(Exception):
    """An error that a caller may see, rendered as RFC 9457 problem details by the API."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str, *, fields: Sequence[FieldProblem] = (), **extensions: Json) -> None:
        super().__init__(message)
        self.message = message
        self.fields = tuple(fields)
        self.extensions = extensions

    def as_problem(self) -> dict[str, Json]:
        """The problem document without `instance`, which the API's edge adds."""
        body: dict[str, Json] = {
            "type": f"urn:portside:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.message,
            "code": self.code,
        }
        if self.fields:
            body["errors"] = [field.as_json() for field in self.fields]
        return {**body, **self.extensions}


class Rejected(PlatformError):
    """The request is wrong and stays wrong until the caller changes it."""

    status, code, title = 422, "rejected", "The request was refused"


class MalformedBody(Rejected):
    """The body is not what its content type says."""

    status, code, title = 400, "malformed_body", "The body cannot be read"


class InvalidField(Rejected):
    """A field of the request has a value that it cannot have."""

    code, title = "invalid_field", "A field is invalid"


class UnknownField(Rejected):
    """The request names a field or parameter that does not exist."""

    code, title = "unknown_field", "Unknown field"


class InvalidArtifact(Rejected):
    """The uploaded bytes are not a model file we could ever read."""

    code, title = "invalid_artifact", "Not a model file"


class FormatNotServed(Rejected):
    """A model format that we recognise and do not serve."""

    code, title = "format_not_served", "This format is not served"


class TooLarge(Rejected):
    """The body is larger than allowed."""

    status, code, title = 413, "too_large", "The body is too large"


class Incomplete(Rejected):
    """The body ended before, or went on after, the announced length."""

    status, code, title = 400, "incomplete_body", "The body has another length than announced"


class BodyStalled(Rejected):
    """The client announced more than it sends."""

    status, code, title = 408, "body_stalled", "The body did not arrive"


class UnsupportedMediaType(Rejected):
    """The content type of the body is none that this route reads."""

    status, code, title = 415, "unsupported_media_type", "Unsupported content type"


class IdempotencyKeyReused(Rejected):
    """The same Idempotency-Key came with another body."""

    code, title = "idempotency_key_reused", "The idempotency key was used for another request"


class Unauthenticated(Rejected):
    """No token, or one that is not valid."""

    status, code, title = 401, "unauthenticated", "A valid token is required"


class Forbidden(Rejected):
    """Who asks is known, and may not."""

    status, code, title = 403, "forbidden", "Not allowed"


class NotFound(PlatformError):
    """Nothing of that name or id exists for this tenant."""

    status, code, title = 404, "not_found", "Not found"


class Conflict(PlatformError):
    """The request contradicts what is there now."""

    status, code, title = 409, "conflict", "Conflict with the current state"


class IllegalMove(Conflict):
    """The verb is not legal in the resource's current status."""

    code, title = "illegal_move", "Not possible in the current status"


class NameTaken(Conflict):
    """Another live resource of the tenant holds this name."""

    code, title = "name_taken", "The name is taken"


class InUse(Conflict):
    """Something still needs the resource."""

    code, title = "in_use", "Still in use"


class StaleEtag(Conflict):
    """`If-Match` names an older representation."""

    status, code, title = 412, "stale_etag", "The resource changed meanwhile"


class IdempotencyInProgress(Conflict):
    """The first request with this Idempotency-Key is still being received."""

    code, title = "idempotency_in_progress", "The first request with this key is still running"


class Unavailable(PlatformError):
    """Something we need is away for now; the same request may succeed later."""

    status, code, title = 503, "unavailable", "Temporarily unavailable"
    retry_after_s: int = 1


class StoreUnavailable(Unavailable):
    """The artifact store cannot be read or written."""

    code, title = "store_unavailable", "The artifact store is unavailable"


class DiskFull(StoreUnavailable):
    """The artifact store has no room left, or the disk that the parts of an archive are unpacked on."""

    status, code, title = 507, "disk_full", "No space left"


class DatabaseBusy(Unavailable):
    """The database is away or did not answer in time."""

    code, title = "database_busy", "The database is unavailable"


class DatabaseFull(DatabaseBusy):
    """The disk under the database has no room left; nothing was changed, and reading goes on."""

    status, code, title = 507, "disk_full", "No space left"


class ReplicaUnavailable(Unavailable):
    """No replica of the service can answer now."""

    code, title = "service_unavailable", "The service is not ready"


@contextmanager
def named_by(pointer: str) -> Iterator[None]:
    """Around looking up what a field of the request names: a `NotFound` or a `Conflict` then points to that field."""
    try:
        yield
    except (NotFound, Conflict) as error:
        error.fields = error.fields or (FieldProblem(pointer, error.message),)
        raise
