"""The bytes of a dataset that is only a reference: brought into the store for one run, in the lane of slow sources."""

from datetime import timedelta

from core.clock import now_micros
from core.errors import Rejected
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


async def fetch_input(held: Held, resources: Resources, where: InputElsewhere) -> Outcome:
    """Bring what is at the source, if it is still what was described; then the run goes on in its own lane.

    Raises `ClaimLost`, `StoreUnavailable`.
    """
    if held.claim.lane != FETCH:
        await _move(held, resources, FETCH, None)
        return Wait(AT_ONCE, "its input is fetched first")
    teller = Teller(held, resources, "fetching")
    try:
        origin = origin_of(where.uri, where.credential_sealed, resources)
        stored, _ = await bring(origin, resources, teller.tell, pinned=where.etag)
    except Rejected as error:
        return Failed(error.as_problem(), target={"completed_at": now_micros(), "error": error.as_problem()})
    await keep(resources, stored)
    assert isinstance(held.row, Operation)
    await _move(held, resources, KINDS[held.row.kind].lane, stored)
    return Wait(AT_ONCE, "its input is there")


async def _move(held: Held, resources: Resources, lane: str, stored: Stored | None) -> None:
    async with resources.database.write() as session:
        work = await lock_held(session, held.claim, held.row)
        assert isinstance(work.row, Operation)
        if stored is not None:
            await keep_copy(session, work.row.target_id, str(stored.digest), stored.size_bytes)
        work.row.lane = lane
        session.tell("changed", "operation", work.row.id)
