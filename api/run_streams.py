"""Server-sent events of a run: each change of its status, how far it is, and the run as it ended."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from api.dependencies import Context
from api.links import Links
from api.schemas.run_reports import report_document
from api.schemas.runs import run_document
from api.streams import KEEP_ALIVE_S, STILL_HERE, encode, history_document
from core.errors import Json
from state.jobtables import Run, RunReport
from state.machines import RUN
from state.queries.history import changes
from state.queries.runs import describe_runs, living_of
from state.reports import last_report, reports_of
from state.tables import History

WORKING_S = 1.0  # its process tells how far it is once a second
AGAIN = 1000  # reports that were there before
LAST = "done"  # the name of the event behind which none comes
RESTING_S = 5.0  # what a change does not tell at once: what it waits for


@dataclass(frozen=True, slots=True)
class _Look:
    """A run as it is now, and what has changed since the look before."""

    document: dict[str, Json]
    changes: tuple[History, ...]
    sequence: int
    has_ended: bool


@dataclass(frozen=True, slots=True)
class News:
    """One event; of one without a name nothing is told but that we are still here."""

    sequence: int
    name: str = ""
    document: Json = None


async def run_events(context: Context, run_id: str, after: int, links: Links) -> AsyncIterator[bytes]:
    """`status` for each change behind `after`, `report` for what a script reports, `progress` while it works, `done`
    with the run; ends with the run. Who comes again gets the last reports again, known by their `sequence`."""
    async for news in run_news(context, run_id, after, links):
        yield encode(news.sequence, news.name, news.document) if news.name else STILL_HERE


async def run_news(context: Context, run_id: str, after: int, links: Links) -> AsyncIterator[News]:
    """The same, not yet encoded."""
    seen, told, silent_since = after, None, time.monotonic()
    async with context.database.read() as session:
        reported = max(0, await last_report(session, run_id) - AGAIN)
    while (look := await _look(context, run_id, seen, links)) is not None:
        for change in look.changes:
            yield News(change.sequence, "status", history_document(change))
        seen = max(seen, look.sequence)
        while reports := await _reports(context, look, run_id, reported):
            for report in reports:
                yield News(seen, "report", report_document(report))
            reported = reports[-1].sequence
        if look.has_ended:
            yield News(look.sequence, LAST, look.document)
            return
        progress = look.document["progress"]
        has_news = bool(look.changes) or progress != told
        if progress != told:
            told = progress
            yield News(seen, "progress", progress)
        if not has_news and time.monotonic() - silent_since >= KEEP_ALIVE_S:
            has_news = True
            yield News(seen)
        silent_since = time.monotonic() if has_news else silent_since
        at_most_s = WORKING_S if look.document["status"] == "running" else RESTING_S
        if await _change(context, run_id, seen, at_most_s) is None:
            return


async def _reports(context: Context, look: _Look, run_id: str, after: int) -> Sequence[RunReport]:
    if look.document["kind"] != "script":
        return ()
    async with context.database.read() as session:
        return await reports_of(session, run_id, after)


async def _look(context: Context, run_id: str, seen: int, links: Links) -> _Look | None:
    """Nothing where the run is deleted."""
    async with context.database.read() as session:
        row = await living_of(session, run_id)
        if row is None:
            return None
        found = tuple(await changes(session, run_id, seen))
        facts = (await describe_runs(session, [row]))[0]
    return _Look(run_document(facts, links), found, row.sequence, row.status in RUN.final)


async def _change(context: Context, run_id: str, seen: int, at_most_s: float) -> Run | None:
    """The run as it is after its next change, or the time; nothing where it is gone, or this process ends."""
    return await context.waiters.wait(Run, run_id, lambda row: row.sequence > seen, at_most_s)
