"""A thin client of the HTTP API for the verbs: every error becomes a `CommandFailed` with its exit status."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias

import httpx2

from cli.failure import CommandFailed, Exit

# A JSON object of the API, shown or looked into, never kept.
Document: TypeAlias = Mapping[str, Any]

DEFAULT_API = "http://127.0.0.1:8000"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TIMEOUT_S = 30.0
EXITS = {
    401: Exit.AUTH,
    403: Exit.AUTH,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    429: Exit.QUOTA,
    504: Exit.TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the API that is no error."""

    status: int
    document: Document
    headers: Mapping[str, str] = field(default_factory=dict)


class Platform:
    """One platform, by the address of its API. Every method raises `CommandFailed`."""

    def __init__(self, url: str = DEFAULT_API, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._timeout_s = timeout_s
        try:
            parsed = httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise CommandFailed(f"PORTSIDE_API is no URL: {self.url!r}", exit_status=Exit.USAGE) from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise CommandFailed(
                f"PORTSIDE_API must begin with http:// or https://: {self.url!r}", exit_status=Exit.USAGE
            )
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"} if token else {},
            timeout=timeout_s,
            trust_env=parsed.host not in LOOPBACK,  # a proxy cannot reach this machine's loopback
        )

    def __enter__(self) -> "Platform":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

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
        content: bytes | Iterator[bytes] | None,
        *,
        query: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One request with a body of bytes, which may be a stream."""
        try:
            response = self._http.request(
                method,
                path,
                content=content,
                params=query or None,
                headers=headers,
                timeout=self._timeout_s if timeout_s is None else timeout_s,
            )
        except httpx2.HTTPError as error:
            raise self._unreachable(error, self._timeout_s if timeout_s is None else timeout_s) from error
        if response.is_success:
            return Answer(response.status_code, _object(response), response.headers)
        raise refusal(response.status_code, _object(response), response.headers.get("x-request-id"), path)

    def stream(self, path: str, **query: str | int) -> Iterator[str]:
        """The text of an answer as it comes, for as long as it comes."""
        try:
            with self._http.stream("GET", path, params=query, timeout=httpx2.Timeout(TIMEOUT_S, read=None)) as response:
                if not response.is_success:
                    response.read()
                    raise refusal(response.status_code, _object(response), response.headers.get("x-request-id"), path)
                yield from response.iter_text()
        except httpx2.HTTPError as error:
            raise self._unreachable(error, TIMEOUT_S) from error

    def _unreachable(self, error: httpx2.HTTPError, timeout_s: float) -> CommandFailed:
        if isinstance(error, httpx2.ConnectError):
            return CommandFailed(
                f"No platform answers at {self.url}: start one with `portside up`, or name another with PORTSIDE_API."
            )
        if isinstance(error, httpx2.TimeoutException):
            return CommandFailed(f"{self.url} did not answer within {timeout_s:g} s.", exit_status=Exit.TIMEOUT)
        return CommandFailed(f"The connection to {self.url} broke off ({type(error).__name__}: {error}); try again.")


def refusal(http_status: int, problem: Document, request_id: str | None = None, path: str = "") -> CommandFailed:
    """A problem document (RFC 9457) as the words and the exit status that a command ends with."""
    detail = str(
        problem.get("detail")
        or problem.get("error")
        or problem.get("title")
        or problem.get("status")
        or f"HTTP {http_status}"
    )
    details = []
    for entry in problem.get("errors") or ():
        if str(entry.get("detail")) not in detail:  # most problems say their one field in the sentence already
            details.append(f"{entry.get('pointer', '')}: {entry.get('detail', '')}")
        if entry.get("hint") and str(entry["hint"]) not in detail:
            details.append(f"hint: {entry['hint']}")
    if isinstance(problem.get("waiting_for"), Mapping):
        details += [f"{part}: {why}" for part, why in problem["waiting_for"].items()]
    if problem.get("last_lines") and str(problem["last_lines"]) not in detail:
        details += ["the last lines of its log:", *(f"  {line}" for line in str(problem["last_lines"]).splitlines())]
    if http_status == 401:
        details.append("next: export PORTSIDE_TOKEN=pst_… (the first one lies in the file `token` of the data folder)")
    if isinstance(problem.get("operation"), Mapping):
        details.append(f"operation: {problem['operation'].get('id')}")
    if named := problem.get("request_id") or request_id:
        details.append(f"request: {named}")
    is_quota = str(problem.get("code", "")).startswith("quota")
    return CommandFailed(
        detail,
        details=details,
        exit_status=Exit.QUOTA if is_quota else EXITS.get(http_status, Exit.FAILED),
        path=path,
    )


def _object(response: httpx2.Response) -> Document:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
