"""Breaks one protection of the product each, in a process that is started for it: the harness must see that.

`python -m tests.crash.broken no_fence up …` runs the product so; the forge takes the same names.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import select

import state.claims
import state.commits
import storage.local
import workers.boot
import workers.rescuer
import workers.sweeper
from cli.main import main as command_line
from core.failpoints import failpoint
from state.advance import advance
from state.database import Database
from state.sweeping import doom
from state.tables import Blob
from storage.base import Stored
from storage.digests import Digest

LATE_S = 0.5
ROOMS = ("api", "cli", "core", "state", "storage", "workers")


def no_fence() -> None:
    """Every claim on a row has the same epoch: who lost it writes as if they held it."""

    async def same_epoch(session: Any, row: Any, move: str, by: Any, **values: Any) -> None:
        await advance(session, row, move, by, **({**values, "epoch": 1} if "epoch" in values else values))

    _everywhere(advance, same_epoch, only="state.claims")


def message_without_row() -> None:
    """A request is answered, its effect is a promise in memory, and the transaction is committed later."""

    async def commit_later(database: Database, work: Callable[[Any], Awaitable[Any]]) -> Any:
        made: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def transaction() -> None:
            try:
                async with database.write() as session:
                    made.set_result(await work(session))
                    await asyncio.sleep(LATE_S)
            except Exception as error:
                if not made.done():
                    made.set_exception(error)

        PROMISES.append(asyncio.create_task(transaction()))
        return await made

    _everywhere(state.commits.commit, commit_later)


PROMISES: list[asyncio.Task[None]] = []


def no_rescue() -> None:
    """What a dead holder held stays held."""

    async def nothing(*_: Any) -> int:
        return 0

    _everywhere(workers.rescuer.rescue_expired, nothing)
    _everywhere(workers.rescuer.requeue_all_running, nothing)


def non_atomic_put() -> None:
    """A blob is written where readers look, piece by piece; what lies there already is believed."""

    def commit(upload: Any) -> Stored:
        stored = Stored(upload._hasher.digest(), upload._hasher.size_bytes)
        path = upload._path_of(stored.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            content = upload._path.read_bytes()
            with path.open("wb", buffering=0) as file:
                file.write(content[: len(content) // 2])
                failpoint("put_before_rename")
                file.write(content[len(content) // 2 :])
        return stored

    storage.local._Upload.commit = commit  # type: ignore[assignment, method-assign]  # it is the point


def sweep_without_recheck() -> None:
    """What was doomed at one look is deleted at the next one, whatever has happened in between."""
    doomed: list[str] = []

    async def sweep(sweeper: Any) -> None:
        database, store = sweeper._resources.database, sweeper._resources.store
        for digest in doomed:
            await store.delete(Digest.parse(digest))
        async with database.write() as session:
            await doom(session, workers.sweeper._ago(sweeper._idle))
        async with database.read() as session:
            doomed[:] = await session.scalars(select(Blob.digest).where(Blob.doomed_at.is_not(None)))

    workers.sweeper.Sweeper._sweep_blobs = sweep  # type: ignore[assignment, method-assign]  # it is the point


def _everywhere(original: object, broken: object, only: str = "") -> None:
    """Put the broken one into every module that has the name of the original one."""
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] in ROOMS]:
        for name in [name for name, found in vars(module).items() if found is original]:
            if module.__name__.startswith(only):
                setattr(module, name, broken)


MUTATIONS: Mapping[str, Callable[[], None]] = MappingProxyType(
    {each.__name__: each for each in (no_fence, message_without_row, no_rescue, non_atomic_put, sweep_without_recheck)}
)


def main(arguments: Sequence[str]) -> int:
    """Break what is named, then be the command."""
    mutation, *rest = arguments
    MUTATIONS[mutation]()
    sys.argv = ["portside", *rest]
    return command_line()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
