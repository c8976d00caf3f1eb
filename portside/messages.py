"""What goes to the platform and what comes back, before and after any wire: requests, answers, JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from portside.sources import Source

# What a model takes and answers is the model's own business: no type of ours can say it.
Json: TypeAlias = Any
# A JSON object of the API.
Document: TypeAlias = Mapping[str, Any]
Query: TypeAlias = Mapping[str, str | int | float]
Body: TypeAlias = bytes | Source | None


class Repeat(Enum):
    """When a request may be sent again after it failed."""

    ALWAYS = "always"  # it only reads, or its Idempotency-Key lets it happen once
    UNLESS_SENT = "unless sent"  # the platform has not seen it, or has refused to begin (503)
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `idle_s` is the longest silence of one attempt; without it, the time that the call has left.

    With `wants_document` an answer must be a JSON object, or empty.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    repeat: Repeat = Repeat.NEVER
    idle_s: float | None = None
    wants_document: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever it says; the names in `headers` are found in either case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Document:
        """The JSON object in it; an empty one where there is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API that is no error."""

    status: int
    document: Document
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
