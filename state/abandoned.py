"""What PostgreSQL ends by itself: a transaction or a statement of ours whose process no longer does anything with it.

A process that dies closes its connections, and the server ends what was open. One that is stopped, or whose machine is
cut off, does not: its locks would keep everybody else waiting, the server for hours or for ever.
"""

from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

# Of the time in which a statement must be answered. Nothing of ours waits for a network within a transaction: between
# two statements lie milliseconds, and seconds where the process or its machine is overloaded.
IDLE_TIMES: Final = 6
# Who gave a statement up has cancelled it long before; this is for one that nobody can cancel any more.
STATEMENT_TIMES: Final = 6
# Whether the other machine is there is asked after half a minute of silence, and given up after another one.
KEEPALIVES: Final = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}


def end_what_is_abandoned(engine: AsyncEngine, statement_s: float | None) -> None:
    """Have each new connection limited so; without `statement_s`, for a migration, only that of a lost machine ends."""
    limits: dict[str, str] = dict(KEEPALIVES)
    if statement_s is not None:
        limits["idle_in_transaction_session_timeout"] = _milliseconds(IDLE_TIMES * statement_s)
        limits["statement_timeout"] = _milliseconds(STATEMENT_TIMES * statement_s)
    # After connecting and not with it: a pooler in between refuses what it does not know of a start-up message.
    settings = "; ".join(f"SET {name} = {value}" for name, value in limits.items())

    @event.listens_for(engine.sync_engine, "connect")
    def limit(connection: Any, _record: Any) -> None:
        connection.run_async(lambda driver: driver.execute(settings))


def _milliseconds(seconds: float) -> str:
    return str(max(1, int(seconds * 1000)))
