"""Every mutation goes through here: idempotency and the work in one transaction, then the answer as `Prefer` asks.

`once` is the transaction, `mutate` adds waiting for the operation and rendering it (API.md sections 1 and 2).
"""

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Request
from starlette.responses import JSONResponse, Response

from api.dependencies import Context, ContextOf, WhoAsks
from api.errors import problem_document
from api.flights import Flight
from api.headers import check_if_match, read_idempotency_key, read_prefer
from api.links import Links, links_for
from api.schemas.operations import FINAL, operation_document
from core.errors import DatabaseBusy, FieldProblem, IdempotencyInProgress, InvalidField, Json, NotFound
from core.failpoints import failpoint
from core.logs import note_in_log_context
from state.commits import commit
from state.database import ReadSession, Session, WriteSession
from state.operations import Who
from state.queries import idempotency
from state.queries.rows import by_ids
from state.tables import Operation, Prediction

Work = TypeVar("Work", Operation, Prediction)
# The answer must be on its way before the N seconds of `Prefer: wait=N` are over.
ANSWER_EARLY_S = 0.2
LONGEST_PATH = 500


@dataclass(frozen=True, slots=True)
class Effect(Generic[Work]):
    """What the work of a mutation made: its claimable row, and the id of the resource that the answer shows."""

    row: Work
    resource_id: str | None = None


@dataclass(frozen=True, slots=True)
class Made(Generic[Work]):
    """An effect after its commit; `replayed` when an earlier request with the same key made it."""

    row: Work
    resource_id: str | None
    replayed: bool
    flight: Flight[Any] | None = None  # of a duplicate that came while the first one was under way


@dataclass(frozen=True, slots=True)
class Shown:
    """A resource as the answer to a mutation that has taken effect; without a document the answer is 204."""

    document: Mapping[str, Json] | None
    status: int = 200
    location: str | None = None
    etag: str | None = None


DoWork = Callable[[WriteSession], Awaitable[Effect[Work]]]
Show = Callable[[ReadSession, str], Awaitable[Shown]]


class Call:
    """One mutating request; a dependency of the routes (`call: Calling`)."""

    def __init__(self, request: Request, context: Context, who: Who) -> None:
        self.request, self.context, self.who = request, context, who
        self.links: Links = links_for(request, context.settings)
        self.prefer = read_prefer(request)
        self.key = read_idempotency_key(request)
        self._has_condition = request.headers.get("if-match", "*") != "*"

    def check_if_match(self, current_etag: str | None) -> None:
        """Raises `StaleEtag`; call it in the work, on the locked row, or with None where there is no row yet."""
        self._has_condition = False
        check_if_match(self.request, current_etag)

    def refuse_condition(self) -> None:
        """Raises `InvalidField` for an If-Match that nothing was held against: it is never silently ignored."""
        if self._has_condition:
            detail = "what this call changes has no etag to hold against If-Match; leave it out"
            raise InvalidField(detail, fields=[FieldProblem("/If-Match", detail)])

    def wait_s(self, default_s: int = 0) -> float:
        """How long this answer may be held."""
        if self.prefer.wait_s is not None:
            return max(self.prefer.wait_s - ANSWER_EARLY_S, 0)
        return 0 if self.prefer.respond_async else default_s

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Around a body that streams and makes something: a duplicate meanwhile meets `IdempotencyInProgress`."""
        self.refuse_condition()
        slot = None if self.key is None else (*self._scope, self.key)
        if slot is None:
            yield
            return
        if slot in self.context.receiving:
            raise IdempotencyInProgress(
                "the first request with this Idempotency-Key still streams; retry when it ended"
            )
        self.context.receiving.add(slot)
        try:
            yield
        finally:
            self.context.receiving.discard(slot)

    async def once(
        self,
        table: type[Work],
        work: DoWork[Work],
        *,
        body_sha256: str | None = None,
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> Made[Work]:
        """Do the work in one write transaction, or find what an earlier request with the same key made.

        `body_sha256` (hex) is for routes that stream their body, or whose bytes alone do not say what they mean; else
        the body is read here. `prepare` comes before the
        transaction, and not for a replay; it must be safe to do twice. Raises what both raise, and
        `IdempotencyKeyReused`.
        """

        async def on_condition(session: WriteSession) -> Effect[Work]:
            effect = await work(session)
            self.refuse_condition()
            return effect

        if self.key is None:
            if prepare is not None:
                await prepare()
            effect = await commit(self.context.database, on_condition)
            return _noted(Made(effect.row, effect.resource_id, replayed=False))
        slot = idempotency.Slot(*self._scope, self.key, await self._fingerprint(body_sha256))

        async def lead() -> Made[Work]:
            return await self._fresh_or_earlier(table, on_condition, slot, prepare)

        landed = await self.context.flights.join((*self._scope, self.key), slot.body_sha256, lead)
        made, flight = landed.result, landed.joined
        return _noted(made if flight is None else replace(made, replayed=True, flight=flight))

    async def _fingerprint(self, body_sha256: str | None) -> str:
        """What tells a request from another with its key: the body, and a query, which may change what is meant."""
        digest = body_sha256 or hashlib.sha256(await self.request.body()).hexdigest()
        query = sorted(self.request.query_params.multi_items())
        return hashlib.sha256(json.dumps([digest, query]).encode()).hexdigest() if query else digest

    async def _fresh_or_earlier(
        self,
        table: type[Work],
        work: DoWork[Work],
        slot: idempotency.Slot,
        prepare: Callable[[], Awaitable[None]] | None,
    ) -> Made[Work]:
        if prepare is not None:
            async with self.context.database.read() as session:
                earlier = await idempotency.find(session, slot)
                if earlier is not None:
                    return await _replay(session, table, earlier)
            await prepare()

        async def take_or_replay(session: WriteSession) -> Made[Work]:
            earlier = await idempotency.take(session, slot)
            if earlier is not None:
                return await _replay(session, table, earlier)
            effect = await work(session)
            await idempotency.fill(session, slot, effect.row.id, effect.resource_id)
            return Made(effect.row, effect.resource_id, replayed=False)

        return await commit(self.context.database, take_or_replay)

    async def mutate(
        self,
        work: DoWork[Operation],
        show: Show | None = None,
        *,
        body_sha256: str | None = None,
        default_wait_s: int = 0,
    ) -> Response:
        """Do the work once and answer: the resource when its operation has taken effect, else the operation (202).

        `show` renders the resource by the id in the `Effect`; without it a finished operation is the answer.
        """
        made = await self.once(Operation, work, body_sha256=body_sha256)
        operation = made.row
        wait_s = self.wait_s(default_wait_s)
        if operation.status not in FINAL and wait_s > 0:
            operation = await self._wait(operation, wait_s)
        headers = self.headers(made.replayed)
        headers["Operation-Location"] = self.links.operation(operation.id)
        return await self._render(made, operation, show, headers)

    async def _wait(self, operation: Operation, wait_s: float) -> Operation:
        try:
            latest = await self.context.waiters.wait_final(Operation, operation.id, FINAL, wait_s)
        except DatabaseBusy:  # it was accepted: that is what the caller must learn
            return operation
        return latest or operation

    def headers(self, replayed: bool) -> dict[str, str]:
        """The headers that any answer to this call has."""
        found: dict[str, str] = {}
        if replayed:
            found["Idempotent-Replayed"] = "true"
        if self.prefer.wait_s is not None:
            found["Preference-Applied"] = f"wait={self.prefer.wait_s}"
        return found

    async def _render(
        self, made: Made[Operation], operation: Operation, show: Show | None, headers: dict[str, str]
    ) -> Response:
        shown = operation_document(operation, self.links)
        if operation.status not in FINAL:
            headers |= {"Location": headers["Operation-Location"], "Retry-After": "1"}
            return JSONResponse(shown, 202, headers)
        if operation.status != "succeeded":
            failed: dict[str, Json] = {**(operation.error or {}), "operation": shown}
            return problem_document(self.request.scope, failed, headers)
        if show is None or made.resource_id is None:
            return JSONResponse(shown, 200, headers)
        read = partial(self._read, show, made.resource_id)
        try:
            resource = await read() if made.flight is None else await made.flight.shared(read)
        except (NotFound, DatabaseBusy):  # a replay of what was deleted since; or it took effect and cannot be read now
            # 200 and 201 promise the resource itself: a client would take the operation for it.
            return JSONResponse(shown, 202, {**headers, "Location": headers["Operation-Location"]})
        return answer(resource, headers)

    async def _read(self, show: Show, resource_id: str) -> Shown:
        async with self.context.database.read() as session:
            return await show(session, resource_id)

    @property
    def _scope(self) -> tuple[str, str, str]:
        path = self.request.url.path
        if len(path) > LONGEST_PATH:
            path = f"sha256:{hashlib.sha256(path.encode()).hexdigest()}"
        return self.who.tenant_id, self.request.method, path


async def _replay(session: Session, table: type[Work], earlier: idempotency.Earlier) -> Made[Work]:
    row = (await by_ids(session, table, [earlier.work_id])).get(earlier.work_id)
    if row is None:  # predictions may be kept for less long than keys
        raise NotFound(f"what this Idempotency-Key made ({earlier.work_id}) is no longer kept")
    return Made(row, earlier.resource_id, replayed=True)


def _noted(made: Made[Work]) -> Made[Work]:
    """What the rest of this request logs names the work that it made."""
    failpoint("commit_before_answer")
    row = made.row
    if isinstance(row, Operation):
        kind, id, name = row.target_type, row.target_id, row.target_name
        note_in_log_context(operation_id=row.id, resource_type=kind, resource_id=id, resource_name=name)
    else:
        note_in_log_context(
            prediction_id=row.id, resource_type="service", resource_id=row.service_id, resource_name=row.service_name
        )
    return made


def answer(shown: Shown, headers: Mapping[str, str] | None = None) -> Response:
    """A resource as a response, with its ETag and Location."""
    sent = dict(headers or {})
    if shown.etag is not None:
        sent["ETag"] = shown.etag
    if shown.location is not None:
        sent["Location"] = shown.location
    if shown.document is None:
        return Response(status_code=204, headers=sent)
    return JSONResponse(shown.document, shown.status, sent)


async def call_of(request: Request, context: ContextOf, who: WhoAsks) -> Call:
    """The mutating call of this request. Raises `InvalidField` for an Idempotency-Key that is none."""
    return Call(request, context, who)


Calling = Annotated[Call, Depends(call_of)]
