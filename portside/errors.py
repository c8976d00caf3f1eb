"""The one tree of errors that users of the client meet; each says what, why and what to do next.

PortsideError
├─ InvalidAddress, InvalidInput   nothing was sent: no URL, no JSON, no name for a service
├─ ConnectionFailed               nobody answers, or the connection broke off; AnswerTimeout: no answer in time
├─ UnexpectedAnswer               who answers is no platform
├─ ApiError                       status, code, detail, errors, request_id, problem
│   └─ Rejected (400 408 413 422 …), Unauthorized, Forbidden, NotFound, Conflict (409 412), TooManyRequests,
│      Unavailable (502 503 504 507)
├─ OperationFailed, PredictionFailed      it was accepted and failed; OperationCanceled, PredictionCanceled
├─ RunFailed                      the same of a run; RunStopped
└─ WaitTimeout                    it goes on, and may be waited for again
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from portside.messages import Document, Reply
from portside.problems import facts_of, references_of, sentence_of

NEXT_401 = "next: give token=…, or set PORTSIDE_TOKEN (the first one lies in the file `token` of the data folder)"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one field: `pointer` is a JSON pointer (RFC 6901) into what was sent."""

    pointer: str
    detail: str
    hint: str


class PortsideError(Exception):
    """Anything that the client raises on purpose."""

    def __reduce__(self) -> tuple[Callable[..., "PortsideError"], tuple[object, ...]]:
        """So that other processes can be told: an exception is else made again of its message alone."""
        return _again, (type(self), self.args, vars(self))


class InvalidAddress(PortsideError):
    """The platform's address cannot be one; `why` says what is wrong with it."""

    def __init__(self, why: str, url: str) -> None:
        super().__init__(f"The platform's address {why}: {url!r}. Give url=… or set PORTSIDE_API, as http://host:8000.")
        self.why = why


class InvalidInput(PortsideError):
    """What was given cannot be sent."""


class ConnectionFailed(PortsideError):
    """There is no answer. `was_sent` is whether the platform may have seen the request."""

    def __init__(self, message: str, *, was_sent: bool) -> None:
        super().__init__(message)
        self.was_sent = was_sent


class AnswerTimeout(ConnectionFailed):
    """The platform did not answer in time."""


class UnexpectedAnswer(PortsideError):
    """Something answered that is no platform."""


class ApiError(PortsideError):
    """The platform refused: `code` is stable, `problem` the whole document, `errors` the fields that are wrong."""

    def __init__(self, status: int, problem: Document, request_id: str | None, retry_after_s: float | None) -> None:
        self.status, self.problem, self.retry_after_s = status, problem, retry_after_s
        self.code = str(problem.get("code") or "")
        self.detail = sentence_of(status, problem)
        self.request_id: str | None = problem.get("request_id") or request_id
        self.errors = _fields(problem)
        advice = [NEXT_401] if status == 401 else []
        super().__init__(_told(self.detail, [*facts_of(problem, self.detail), *advice], problem, request_id))


class Rejected(ApiError):
    """The request is wrong and stays wrong until it is changed."""


class Unauthorized(ApiError):
    """No token, or one that is not valid."""


class Forbidden(ApiError):
    """Who asks is known, and may not."""


class NotFound(ApiError):
    """Nothing of that name or id exists."""


class Conflict(ApiError):
    """The request contradicts what is there now."""


class TooManyRequests(ApiError):
    """More than is allowed at a time."""


class Unavailable(ApiError):
    """Something that is needed is away for now; the same request may succeed later."""


class OperationFailed(PortsideError):
    """An operation ended and did not succeed; `operation` is its document, `problem` why."""

    def __init__(self, operation: Document) -> None:
        self.operation, self.problem, self.code, words = operation, *_why(operation.get("error"))
        target = operation["target"]
        what = f"{operation['kind']} of {target['type']} {target['name']}"
        super().__init__("\n".join([f"{what} {operation['status']}: {words}", f"operation: {operation['id']}"]))


class OperationCanceled(OperationFailed):
    """It was canceled, or a newer wish took its place (`superseded_by` of the operation)."""


class PredictionFailed(PortsideError):
    """A prediction ended and did not succeed; `prediction` is its document, `problem` why."""

    def __init__(self, prediction: Document) -> None:
        given = prediction.get("problem") or {"detail": prediction.get("error") or prediction["status"]}
        self.prediction, self.problem, self.code, words = prediction, *_why(given)
        super().__init__(f"{prediction['id']} {prediction['status']}: {words}")


class PredictionCanceled(PredictionFailed):
    """It was canceled, by somebody or by its `cancel_after_s`."""


class RunFailed(PortsideError):
    """A run ended and did not succeed; `run` is its document, `problem` why."""

    def __init__(self, run: Document) -> None:
        given = run.get("error") or {"detail": run.get("message") or run["status"]}
        self.run, self.problem, self.code, words = run, *_why(given)
        super().__init__(f"run {run['number']} of job {run['job']} {run['status']}: {words}")


class RunStopped(RunFailed):
    """Somebody stopped it."""


class WaitTimeout(PortsideError):
    """It is not done yet, and goes on."""


BY_STATUS: dict[int, type[ApiError]] = {
    **dict.fromkeys((400, 405, 408, 413, 415, 422, 431), Rejected),
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    **dict.fromkeys((409, 412), Conflict),
    429: TooManyRequests,
    **dict.fromkeys((502, 503, 504, 507), Unavailable),
}


def nobody_answers(url: str) -> ConnectionFailed:
    """No connection came about."""
    start = "start one with `portside up`, or name another with PORTSIDE_API"
    return ConnectionFailed(f"No platform answers at {url}: {start}.", was_sent=False)


def too_late(url: str, idle_s: float, *, was_sent: bool) -> AnswerTimeout:
    """The silence was longer than it may be."""
    return AnswerTimeout(f"{url} did not answer within {max(round(idle_s, 2), 0.01):g} s.", was_sent=was_sent)


def broken_off(url: str, error: Exception) -> ConnectionFailed:
    """The connection was lost before the answer was whole."""
    message = f"The connection to {url} broke off ({type(error).__name__}: {error}); try again."
    return ConnectionFailed(message, was_sent=True)


def refusal_of(reply: Reply) -> ApiError:
    """The error that an answer of the API is."""
    kind = BY_STATUS.get(reply.status, ApiError)
    problem = reply.document
    if 300 <= reply.status < 400:
        where = reply.headers.get("location")
        problem = {"detail": f"HTTP {reply.status}: this address leads to {where}; name that one as the platform's"}
    return kind(reply.status, problem, reply.headers.get("x-request-id"), _seconds(reply.headers.get("retry-after")))


def _again(kind: type[PortsideError], arguments: tuple[object, ...], state: Document) -> PortsideError:
    error = kind.__new__(kind)
    error.args = arguments
    vars(error).update(state)
    return error


def _seconds(retry_after: str | None) -> float | None:
    """Only the form that says seconds: the platform sends no dates, and a date needs clocks that agree."""
    return float(retry_after) if retry_after and retry_after.strip().isdecimal() else None


def _fields(problem: Document) -> tuple[FieldProblem, ...]:
    return tuple(
        FieldProblem(str(each.get("pointer", "")), str(each.get("detail", "")), str(each.get("hint", "")))
        for each in problem.get("errors") or ()
    )


def _why(problem: Document | None) -> tuple[Document, str, str]:
    found = problem or {}
    detail = sentence_of(int(found.get("status") or 500), found)
    return found, str(found.get("code") or ""), _told(detail, facts_of(found, detail), {}, None)


def _told(sentence: str, facts: Sequence[str], problem: Document, request_id: str | None) -> str:
    return "\n".join([sentence, *facts, *references_of(problem, request_id)])
