"""What must be true of a run that has ended, and of a site whose runs have all ended."""

import asyncio
import time
from contextlib import suppress

from sqlalchemy import func, select

from core.errors import PlatformError
from state.advance import lock
from state.blobs import CONDEMNED_FOR
from state.datasets import delete_dataset
from state.datatables import Dataset, DatasetPart
from state.jobtables import Run, RunChunk, RunProcess
from state.tables import Blob, Version
from tests.crash.runsites import leftovers, scorers
from tests.crash.runtrial import DONE_S, FINAL, LOOK_S, Trial
from tests.workers.runrows import WHO

GONE_S = 60.0
SWEPT_S = CONDEMNED_FOR.total_seconds() + 30.0  # a sweeper that died over a blob keeps it for so long


async def judge(trial: Trial) -> list[str]:
    """What is wrong with the run of this round."""
    if not await trial.until(*FINAL, within_s=DONE_S):
        return [f"it is {await trial.status()} {DONE_S:g} s after the last fault"]
    run = await trial.ground.now(trial.run)
    if run.status != "succeeded":
        return [f"it is {run.status}: {run.reason} {run.message}"]
    wrong = []
    output = await trial.ground.output(run), await trial.ground.output(run, "bad_rows")
    if output != trial.expected:
        sizes = [(len(each or b""), len(wanted or b"")) for each, wanted in zip(output, trial.expected, strict=True)]
        wrong.append(f"other bytes than the undisturbed run's: {sizes} bytes and expected")
    if not await gone(trial):
        left = [process.pid for process in scorers(trial.site)]
        folders = leftovers(trial.site)
        wrong.append(f"it left {await rows_left(trial)} rows, the processes {left}, the folders {folders}")
    async with trial.ground.database.read() as session:
        query = select(Dataset.role, func.count()).where(Dataset.run_id == run.id, Dataset.status != "deleted")
        made = dict((await session.execute(query.group_by(Dataset.role))).all())
    if made != {"output": 1, "bad_rows": 1}:
        wrong.append(f"it made the datasets {made}")
    return wrong


async def gone(trial: Trial) -> bool:
    """Whether neither processes nor rows are left, soon."""
    deadline = time.monotonic() + GONE_S
    while scorers(trial.site) or leftovers(trial.site) or await rows_left(trial) != (0, 0):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(LOOK_S)
    return True


async def rows_left(trial: Trial) -> tuple[int, int]:
    """Chunks in the ledger, and rows of processes."""
    async with trial.ground.database.read() as session:
        counts = [
            await session.scalar(select(func.count()).where(table.run_id == trial.run.id))
            for table in (RunChunk, RunProcess)
        ]
    return int(counts[0] or 0), int(counts[1] or 0)


async def forget(trial: Trial, run: Run) -> None:
    """Delete what a run has made, so that the next one stores the same bytes while the sweeper takes them away."""
    async with trial.ground.database.write() as session:
        mine = select(Dataset.id).where(Dataset.run_id == run.id, Dataset.status != "deleted").order_by(Dataset.id)
        for dataset_id in list(await session.scalars(mine)):
            await delete_dataset(session, WHO, await lock(session, Dataset, dataset_id))


async def unswept(trial: Trial) -> list[str]:
    """What the store has too much or too little when all that runs made is forgotten, and the time for that is over."""
    deadline = time.monotonic() + SWEPT_S
    while True:
        wrong = ["the store did not answer"]
        with suppress(PlatformError):
            wrong = await _wrong_blobs(trial)
        if not wrong or time.monotonic() > deadline:
            return wrong
        trial.supervise()
        await asyncio.sleep(10 * LOOK_S)


async def _wrong_blobs(trial: Trial) -> list[str]:
    stored = {str(digest) async for digest in trial.ground.store.list()}
    async with trial.ground.database.read() as session:
        wanted = set(await session.scalars(select(Version.digest).where(Version.status != "deleted")))
        wanted |= set(await session.scalars(select(DatasetPart.digest)))
        known = set(await session.scalars(select(Blob.digest)))
    return [
        *(f"nothing refers to the blob {digest}" for digest in sorted(stored - wanted)),
        *(f"nothing refers to the row of the blob {digest}" for digest in sorted(known - wanted)),
        *(f"the blob {digest} is gone" for digest in sorted(wanted - stored)),
    ]
