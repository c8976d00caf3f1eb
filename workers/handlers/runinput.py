"""The bytes of a dataset that is only a reference: brought into the store for one run, in the lane of slow sources.

A script may read several: each is brought by itself, for the run looks again at what it lacks when one is there.
"""

from dataclasses import dataclass
from datetime import timedelta

from core.clock import now_micros
from core.errors import Json, Rejected
from state.endings import lock_held
from state.fetching import FETCH
from state.inputs import keep_copy
from state.kinds import KINDS
from state.resolving import InputElsewhere
from state.tables import Operation
from storage.base import Stored
from workers.handlers.datasets import Teller
from workers.origins import bring, origin_of
from workers.outcomes import Failed, Outcome, Wait
from workers.previews import keep
from workers.resources import Held, Resources

AT_ONCE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Copy:
    """What was brought, and the path by which it is held."""

    path: str
    stored: Stored


async def fetch_input(held: Held, resources: Resources, where: InputElsewhere) -> Outcome:
    """Bring what is at the source, if it is still what was described; then the run goes on in its own lane.

    Raises `ClaimLost`, `StoreUnavailable`.
    """
    if held.claim.lane != FETCH:
        await _move(held, resources, FETCH)
        return Wait(AT_ONCE, "its input is fetched first")
    teller = Teller(held, resources, "fetching")
    try:
        origin = origin_of(where.uri, where.credential_sealed, resources)
        stored, _ = await bring(origin, resources, teller.tell, pinned=where.etag)
    except Rejected as error:
        problem = _problem(error, where.name)
        return Failed(problem, target={"completed_at": now_micros(), "error": problem})
    await keep(resources, stored)
    assert isinstance(held.row, Operation)
    await _move(held, resources, KINDS[held.row.kind].lane, Copy(where.held_as, stored))
    return Wait(AT_ONCE, "its input is there")


def _problem(error: Rejected, name: str) -> dict[str, Json]:
    """What is wrong with the source, and of which of a script's inputs it is one."""
    told = error.as_problem()
    if not name:
        return told
    fields = [{**field.as_json(), "pointer": f"/inputs/datasets/{name}"} for field in error.fields]
    return {**told, "detail": f"the input '{name}' is only a reference, and {error.message}", "errors": fields}


async def _move(held: Held, resources: Resources, lane: str, copy: Copy | None = None) -> None:
    async with resources.database.write() as session:
        work = await lock_held(session, held.claim, held.row)
        assert isinstance(work.row, Operation)
        if copy is not None:
            stored = copy.stored
            await keep_copy(session, work.row.target_id, str(stored.digest), stored.size_bytes, copy.path)
        work.row.lane = lane
        session.tell("changed", "operation", work.row.id)
