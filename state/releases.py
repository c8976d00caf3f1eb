"""What must wait, while a platform is upgraded process by process, until no process of an older release is there."""

from sqlalchemy import select

from core.errors import Unavailable
from state.database import Session, db_now
from state.installation import Process
from state.processes import ALIVE_MICROS


class UpgradeUnderWay(Unavailable):
    """A process that is still there could not do what is asked."""

    code, title = "upgrade_under_way", "The platform is being upgraded"
    retry_after_s = 10


async def check_all_know(session: Session, schema: str, what: str) -> None:
    """Let pass what only releases of this schema and later can do. Raises `UpgradeUnderWay`."""
    query = select(Process.id, Process.version).where(
        Process.seen_at > db_now() - ALIVE_MICROS, Process.schema < schema
    )
    if (old := (await session.execute(query.limit(1))).one_or_none()) is not None:
        detail = f"{what} must wait: the process {old.id} is of an older release ({old.version})"
        raise UpgradeUnderWay(f"{detail}; replace it, or try again when it has ended")


async def check_parts_known(session: Session) -> None:
    """Let pass what makes or runs a version of several models: an older process would refuse its file as foreign.

    Raises `UpgradeUnderWay`.
    """
    await check_all_know(session, "0013", "a version of several models")
