"""Jobs that are deleted with the runs that were under way: they wait until the last of these has ended."""

from datetime import timedelta

from core.clock import now_micros
from state.jobs import forget_runs_of
from state.queries.jobs import live_runs
from state.tables import Operation
from workers.outcomes import Done, Outcome, Progress, Wait
from workers.resources import Held, Resources

LOOK = timedelta(seconds=1)  # a run that is stopped has ended within two
SHOWN = 5


async def delete_job(held: Held, resources: Resources) -> Outcome:
    """Done when none of its runs is under way."""
    assert isinstance(held.row, Operation)
    async with resources.database.read() as session:
        live = await live_runs(session, held.row.target_id, SHOWN + 1)
    if live:
        shown = ", ".join(str(run.number) for run in live[:SHOWN]) + (" and others" if len(live) > SHOWN else "")
        reason = f"{'run' if len(live) == 1 else 'runs'} {shown} still under way"
        return Wait(LOOK, reason, Progress(0, "stopping", reason))
    async with resources.database.write() as writing:
        await forget_runs_of(writing, held.row.target_id)
    return Done(result=dict(held.row.arguments), target={"deleted_at": now_micros()})
