"""The harness sees what it claims to see: each protection of the product, taken away, makes an invariant fail.

And the same scene with the protection in place makes none fail.
"""

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from state.tables import Blob
from tests.crash.campaign import SETTLED_S, Order, Run
from tests.crash.faults import Fault, Scene, at_failpoint
from tests.crash.forge import Forge
from tests.crash.installation import Installation, embedded
from tests.crash.receiver import listening
from tests.crash.report import Report
from tests.crash.stack import stack
from tests.crash.workload import Workload
from tests.e2e.platform import forge

SEED = 4
SOON_S = 5.0
AT_ONCE = 3
WITHIN_S = 180.0  # beside other suites; alone it is a moment
LOOK_S = 0.02
Act = Callable[[Run], Fault]

SEEN_BY = {
    "no_fence": "3 legal moves, history without gaps",
    "message_without_row": "1 nothing acknowledged is lost",
    "no_rescue": "10 nothing is stuck",
    "non_atomic_put": "4 every blob is whole",
    "sweep_without_recheck": "4 every blob is whole",
}


def dies_after_an_answer(run: Run) -> Fault:
    return at_failpoint("after_answer", Always(), "kill")


def dies_with_work(run: Run) -> Fault:
    return at_failpoint("after_claim", Always(), "kill")


def dies_in_a_put(run: Run) -> Fault:
    async def upload(work: Workload) -> None:
        await work.upload("torn", work.artifact("torn"))

    fault = at_failpoint("put_before_rename", Always(), "kill")
    return Fault(fault.name, fault.strike, (upload,))


def wants_what_is_doomed(run: Run) -> Fault:
    """Bytes are forgotten, doomed, and uploaded again before they are deleted; others are doomed by a later sweep."""

    async def strike(scene: Scene) -> None:
        work = run.work(0)
        content = work.artifact("wanted again")
        await forgotten(work, content)
        await work.upload("again", content)
        await forgotten(work, work.artifact("never again"))

    async def forgotten(work: Workload, content: bytes) -> None:
        await work.wait(await work.upload("forgotten", content), WITHIN_S)
        await work.wait(await work.change("DELETE", "/api/v1/models/forgotten?cascade=true"), WITHIN_S)
        await _until_doomed(run, f"sha256:{hashlib.sha256(content).hexdigest()}")

    return Fault("doomed and wanted", strike)


def comes_back_to_what_another_holds(run: Run) -> Fault:
    """A worker is stopped while it works, for longer than its lease; it goes on when another one has its work.

    That one is stopped, too, as soon as it has: or it might be done before the first one goes on.
    """

    async def strike(scene: Scene) -> None:
        work = run.work(0)
        scene.site.arm("after_effect=stop@1")
        made = await work.upload("contested", work.artifact("contested"))
        assert await scene.meets(lambda: len(scene.site.hits()) == 1, WITHIN_S)
        scene.site.arm("before_effect=stop@1")
        assert await scene.meets(lambda: len(scene.site.hits()) == 2, WITHIN_S)
        for pid in scene.site.struck():
            os.kill(pid, signal.SIGCONT)
        await work.wait(made, WITHIN_S)

    return Fault("comes back", strike)


SCENES: dict[str, Act] = {
    "no_fence": comes_back_to_what_another_holds,
    "message_without_row": dies_after_an_answer,
    "no_rescue": dies_with_work,
    "non_atomic_put": dies_in_a_put,
    "sweep_without_recheck": wants_what_is_doomed,
}


class Always(random.Random):
    """Chooses the first of anything."""

    def choice(self, seq):  # type: ignore[no-untyped-def]  # as its parent has it
        return seq[0]

    def random(self) -> float:
        return 0.5


async def judged(place: Path, forge: Forge, name: str, settled_s: float) -> Report:
    """What a round of this one act finds on a site of its own."""
    report = Report()
    order = Order(SEED, range(1), settled_s=settled_s, first_points=())
    await asyncio.to_thread(place.mkdir)
    with listening() as receiver:
        run = Run(order, await asyncio.to_thread(_open, name, place, forge), receiver, report)
        try:
            await run.begin(0)
            await run.round(0, [SCENES[name](run)])
        finally:
            await run.close()
    return report


async def all_judged(folder: Path, names: Sequence[str]) -> dict[tuple[str, bool], Report]:
    """Each scene with its protection and without, some at the same time: most of it is waiting."""
    turns = asyncio.Semaphore(AT_ONCE)
    made = await asyncio.to_thread(forge)

    async def harmless(name: str) -> Report:
        async with turns:
            return await judged(folder / f"{name}-whole", made, name, SETTLED_S)

    async def broken(name: str) -> Report:
        async with turns:
            # Without a rescue nothing comes to rest; the others do.
            settled_s = SOON_S if name == "no_rescue" else SETTLED_S
            return await judged(folder / name, made.breaking(name), name, settled_s)

    reports = await asyncio.gather(*map(broken, names), *map(harmless, names))
    return dict(zip([(name, is_broken) for is_broken in (True, False) for name in names], reports, strict=True))


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, bool], Report]:
    return asyncio.run(all_judged(tmp_path_factory.mktemp("mutations"), list(SEEN_BY)))


@pytest.mark.parametrize(("mutation", "invariant"), SEEN_BY.items())
def test_a_broken_protection_is_found(reports: dict[tuple[str, bool], Report], mutation: str, invariant: str) -> None:
    report = reports[mutation, True]
    found = {violation.invariant for violation in report.violations}
    assert invariant in found, [*map(str, report.violations), report.missed]


@pytest.mark.parametrize("mutation", SEEN_BY)
def test_the_same_scene_is_harmless_with_the_protection(reports: dict[tuple[str, bool], Report], mutation: str) -> None:
    report = reports[mutation, False]
    assert not report.violations, [*map(str, report.violations)]
    assert not report.missed


def _open(name: str, place: Path, forge: Forge) -> Installation:
    """Several workers where one takes over from another, else one process; none loses its lease to a busy machine."""
    return (stack if name == "no_fence" else embedded)(place, forge, {"PORTSIDE_LEASE_S": "3"})


async def _until_doomed(run: Run, digest: str) -> None:
    """Until nobody may have the bytes as they are: the blob is doomed, or gone already."""
    kept = select(Blob.digest).where(Blob.digest == digest, Blob.doomed_at.is_(None))
    async with asyncio.timeout(WITHIN_S):
        while True:
            async with run.database.read() as session:
                if await session.scalar(kept) is None:
                    return
            await asyncio.sleep(LOOK_S)
