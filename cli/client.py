"""The Python client as the verbs use it: every error becomes a `CommandFailed` with its exit status."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeAlias

from cli.failure import CommandFailed, Exit
from cli.open import open_transport
from portside.address import DEFAULT_URL, check_url, read_token
from portside.errors import AnswerTimeout, ApiError, ConnectionFailed, InvalidAddress, InvalidInput
from portside.messages import Answer, Body, Repeat, Request
from portside.problems import facts_of, references_of, sentence_of
from portside.requests import IDEMPOTENCY_KEY, new_key
from portside.session import TIMEOUT_S, Retries, Session, finish

# A JSON object of the API, shown or looked into, never kept.
Document: TypeAlias = Mapping[str, Any]

DEFAULT_API = DEFAULT_URL
# Somebody watches: where nobody listens, or where an operator has switched something off, they are told at once.
RETRIES = Retries(attempts=3, longest_pause_s=1.0, longest_wish_s=5.0, waits_for_start=False)
EXITS = {
    401: Exit.AUTH,
    403: Exit.AUTH,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    429: Exit.QUOTA,
    504: Exit.TIMEOUT,
}


class Platform:
    """One platform, by the address of its API. Every method raises `CommandFailed`."""

    def __init__(self, url: str = DEFAULT_API, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        try:
            self.token = read_token(token)
            check_url(self.url)
            self._transport = open_transport(self.url)
        except InvalidAddress as error:
            raise CommandFailed(f"PORTSIDE_API {error.why}: {self.url!r}", exit_status=Exit.USAGE) from error
        except InvalidInput as error:
            raise CommandFailed(str(error), exit_status=Exit.USAGE) from error
        self._session = Session(self._transport, self.token, timeout_s, RETRIES)

    def __enter__(self) -> "Platform":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        finish(self._session.close())

    def get(self, path: str, **query: str | int) -> Document:
        """Read a resource."""
        return self.call("GET", path, query=query).document

    def find(self, path: str) -> Document | None:
        """Read a resource, or nothing where there is none."""
        try:
            return self.get(path)
        except CommandFailed as failed:
            if failed.exit_status is Exit.NOT_FOUND:
                return None
            raise

    def items(self, path: str, **query: str | int) -> Iterator[Document]:
        """Every item of a list, page by page."""
        while True:
            page = self.get(path, **query)
            yield from page["items"]
            if not page.get("next_page_token"):
                return
            query["page_token"] = page["next_page_token"]

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request with a JSON body, or without one."""
        given = {"content-type": "application/json"} if body is not None else {}
        content = None if body is None else json.dumps(body).encode()
        return self.send(method, path, content, query=query, headers={**given, **(headers or {})}, timeout_s=timeout_s)

    def send(
        self,
        method: str,
        path: str,
        content: Body,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request with a body of bytes, which may be streamed; a mutation is repeated under a key of its own."""
        is_mutation = method != "GET" and not path.endswith("/predict")
        given = {IDEMPOTENCY_KEY: new_key()} if is_mutation else {}
        given |= {name.lower(): value for name, value in (headers or {}).items()}
        repeat = Repeat.ALWAYS if is_mutation else Repeat.NEVER
        with _as_failures(path):
            return finish(self._session.send(Request(method, path, query or {}, given, content, repeat), timeout_s))

    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, idle_s: float | None = None, **query: str | int
    ) -> Iterator[str]:
        """The text of an answer as it comes, for as long as it comes; `idle_s` is the longest silence."""
        with _as_failures(path):
            yield from self._transport.stream(path, query, self.token, headers or {}, idle_s)

    @contextmanager
    def receive(self, path: str) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """The headers of an answer and its bytes as they come, for the length of the block."""
        with _as_failures(path), self._transport.receive(path, self.token, TIMEOUT_S) as received:
            yield received


@contextmanager
def _as_failures(path: str) -> Iterator[None]:
    """Around a request: what the client raises as what a command ends with."""
    try:
        yield
    except ApiError as error:
        raise refusal(error.status, error.problem, error.request_id, path) from error
    except AnswerTimeout as error:
        raise CommandFailed(str(error), exit_status=Exit.TIMEOUT) from error
    except ConnectionFailed as error:
        raise CommandFailed(str(error)) from error


def refusal(http_status: int, problem: Document, request_id: str | None = None, path: str = "") -> CommandFailed:
    """A problem document (RFC 9457) as the words and the exit status that a command ends with."""
    detail = sentence_of(http_status, problem)
    details = facts_of(problem, detail)
    if http_status == 401:
        details.append("next: export PORTSIDE_TOKEN=pst_… (the first one lies in the file `token` of the data folder)")
    details += references_of(problem, request_id)
    is_quota = str(problem.get("code", "")).startswith("quota")
    return CommandFailed(
        detail,
        details=details,
        exit_status=Exit.QUOTA if is_quota else EXITS.get(http_status, Exit.FAILED),
        path=path,
    )
