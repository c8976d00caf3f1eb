"""From an outcome to rows: one fenced transaction that ends the work or gives its claim back."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from core.clock import to_micros
from core.errors import Json, PlatformError
from state.claims import attempts_of, give_back
from state.direct import DirectSession
from state.endings import Locked, cancel, fail, succeed
from state.history import By
from workers.outcomes import Canceled, Done, Failed, Outcome, Retry, Wait

FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0


@dataclass(frozen=True, slots=True)
class Broken:
    """The handler raised: a `Retry` that already knows which problem is shown when no attempt is left."""

    retry: Retry
    problem: dict[str, Json]


@dataclass(frozen=True, slots=True)
class HandBack:
    """This worker stops; the next holder begins at once and no attempt is used."""

    reason: str


Verdict = Outcome | Broken | HandBack


class AttemptsExhausted(PlatformError):
    """Every allowed attempt failed."""

    code, title = "attempts_exhausted", "Given up after repeated failures"


async def record(session: DirectSession, work: Locked, verdict: Verdict, owner: str, max_attempts: int) -> None:
    """Write what the outcome means for the work and its target."""
    by = By(owner)
    match verdict:
        case Done():
            await succeed(session, work, by, result=verdict.result, row=verdict.row, target=verdict.target)
        case Failed():
            await fail(session, work, by, verdict.problem, row=verdict.row, target=verdict.target)
        case Canceled():
            await cancel(session, work, by, verdict.reason)
        case Wait():
            await _wait(session, work, By(owner, "waiting", verdict.reason), verdict)
        case HandBack():
            by = By(owner, "handed_back", verdict.reason)
            await give_back(session, work.row, by, after_micros=0, used_attempt=False)
        case Retry():
            await _retry(session, work, owner, verdict, _given_up(work, verdict), max_attempts)
        case Broken():
            await _retry(session, work, owner, verdict.retry, verdict.problem, max_attempts)
        case _:
            assert_never(verdict)


async def _wait(session: DirectSession, work: Locked, by: By, wait: Wait) -> None:
    told = {} if wait.progress is None else {"progress": wait.progress.as_json()}
    # The rescues begin anew: work that comes back with an answer is not what kills its holders.
    await give_back(
        session,
        work.row,
        by,
        after_micros=_until_deadline(session, work, to_micros(wait.after)),
        used_attempt=False,
        waiting_for=wait.reason,
        rescues=0,
        **told,
    )


async def _retry(
    session: DirectSession, work: Locked, owner: str, retry: Retry, problem: dict[str, Json], default_attempts: int
) -> None:
    allowed = attempts_of(work.row, default_attempts)
    if allowed is not None and work.row.attempt >= allowed:
        return await fail(session, work, By(owner), problem, row=retry.row)
    after = retry.after or backoff(work.row.attempt)
    by = By(owner, "retry", retry.reason)
    after_micros = _until_deadline(session, work, to_micros(after))
    return await give_back(session, work.row, by, after_micros=after_micros, used_attempt=True, rescues=0, **retry.row)


def backoff(attempt: int) -> timedelta:
    """Exponential with full jitter (Brooker, "Exponential Backoff And Jitter", 2015)."""
    ceiling_s = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt - 1, 16))
    return timedelta(seconds=random.uniform(0.0, ceiling_s))  # noqa: S311  jitter, not a secret


def _given_up(work: Locked, retry: Retry) -> dict[str, Json]:
    message = f"{work.row.id} was given up after {work.row.attempt} attempts; the last one: {retry.reason}"
    return AttemptsExhausted(message).as_problem()


def _until_deadline(session: DirectSession, work: Locked, after_micros: int) -> int:
    """Not later than the deadline, so that the guard ends the work then and not at the next try."""
    if work.row.deadline_at is None:
        return after_micros
    return max(0, min(after_micros, work.row.deadline_at - session.now))
