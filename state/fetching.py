"""A version whose bytes come from a URL: what its inspection writes between fetching them and looking at them.

It begins in a lane of its own, so that a slow source holds up other sources only, and goes on in its kind's.
"""

from typing import Final

from core.clock import now_micros
from state.blobs import hold_blob
from state.claims import Claim
from state.database import WriteSession
from state.endings import lock_held
from state.kinds import KINDS
from state.tables import Operation, Version

FETCH: Final = "fetch"


async def record_fetched(session: WriteSession, claim: Claim, row: Operation, digest: str, size_bytes: int) -> None:
    """The version's bytes are in the store, and its inspection waits in its own lane as soon as it is given back.

    Raises `ClaimLost`, and `StoreUnavailable` where the sweeper was faster.
    """
    await hold_blob(session, digest)
    work = await lock_held(session, claim, row)
    version, operation = work.target, work.row
    assert isinstance(version, Version)
    assert isinstance(operation, Operation)
    version.digest, version.size_bytes = digest, size_bytes
    version.edition += 1
    version.updated_at = now_micros()
    operation.lane = KINDS[operation.kind].lane
    operation.attempt = 1  # as if this were its first one: what the source took is not taken from the inspection
    operation.progress = {"percent": 0, "stage": "inspecting", "detail": None}
    session.tell("changed", "operation", operation.id)
