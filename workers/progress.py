"""What a handler may write while it works: fenced commits of their own, never a status. Both raise `ClaimLost`."""

from collections.abc import Mapping

from core.errors import Json
from state.claims import note
from workers.resources import Held, Resources


async def progress(held: Held, resources: Resources, percent: int, stage: str, detail: str | None = None) -> None:
    """Tell how far an operation is."""
    async with resources.database.write() as session:
        await note(session, held.claim, progress={"percent": percent, "stage": stage, "detail": detail})


async def checkpoint(held: Held, resources: Resources, data: Mapping[str, Json]) -> None:
    """Remember from where the next holder of an operation goes on."""
    async with resources.database.write() as session:
        await note(session, held.claim, checkpoint=dict(data))
