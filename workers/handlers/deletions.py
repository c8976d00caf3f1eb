"""Models and versions that are deleted together with the services that use them: they wait until nothing does."""

from collections.abc import Sequence
from datetime import timedelta

from core.clock import now_micros
from state.claims import wake
from state.queries.models import users_of_model, users_of_version
from state.queries.versions import free_versions, has_living_versions
from state.tables import Operation
from workers.outcomes import Done, Outcome, Progress, Wait
from workers.resources import Held, Resources

# The watcher wakes the model's operation where it runs in the process that ended the service; otherwise that looks by
# itself, ever less often while a service does not end, and wakes those of the versions: one looks for all of them.
FIRST_LOOK = timedelta(seconds=1)
LAST_LOOK = timedelta(seconds=30)
UNTIL_WOKEN = timedelta(seconds=60)
AT_ONCE = timedelta(seconds=0.5)  # its versions are on their way out


async def delete_version(held: Held, resources: Resources) -> Outcome:
    """Done when no service needs it any more."""
    assert isinstance(held.row, Operation)
    async with resources.database.read() as session:
        users = await users_of_version(session, held.row.target_id)
    if users:
        return Wait(UNTIL_WOKEN, f"{_named(users)} still being deleted")
    return Done(target={"deleted_at": now_micros()})


async def delete_model(held: Held, resources: Resources) -> Outcome:
    """Done when its services and its versions are gone."""
    assert isinstance(held.row, Operation)
    services = held.row.arguments["services"]
    async with resources.database.read() as session:
        users = await users_of_model(session, held.row.target_id)
        has_versions = await has_living_versions(session, held.row.target_id)
        free = await free_versions(session, held.row.target_id)
    if free:
        async with resources.database.write() as writing:
            await wake(writing, free)
    if users or has_versions:
        reason = f"{_named(users)} still being deleted" if users else "its versions are still being deleted"
        percent = 90 * max(0, len(services) - len(users)) // len(services)
        return Wait(_pause(held) if users else AT_ONCE, reason, Progress(percent, "deleting", reason))
    return Done(result=dict(held.row.arguments), target={"deleted_at": now_micros()})


def _pause(held: Held) -> timedelta:
    """A quarter of the time that it took so far."""
    now = held.clock.now
    waited = timedelta(microseconds=now - (held.row.started_at or now))
    return min(max(FIRST_LOOK, waited / 4), LAST_LOOK)


def _named(users: Sequence[str]) -> str:
    if len(users) == 1:
        return f"service {users[0]} is"
    return f"services {', '.join(users[:5])}{' and others' if len(users) > 5 else ''} are"
