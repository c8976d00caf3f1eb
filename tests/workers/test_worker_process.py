"""`portside worker` as a process of its own: SIGTERM drains it, and what it cannot finish it hands back."""

import asyncio

from tests.workers.installation import Installation, StartWorker
from tests.workers.platform import wait_for
from tests.workers.receiver import open_receiver


async def test_an_idle_worker_goes_at_once_with_status_0(start_worker: StartWorker) -> None:
    worker = await asyncio.to_thread(start_worker, 600.0)
    assert await asyncio.to_thread(worker.stop, 60.0) == 0  # killed after these, it would have another status
    said = worker.log.read_text("utf-8")
    assert said.rstrip().endswith("Stopped.")
    assert "Traceback" not in said


async def test_a_worker_that_is_asked_to_stop_finishes_what_runs_and_begins_nothing(
    installation: Installation, start_worker: StartWorker
) -> None:
    worker = await asyncio.to_thread(start_worker, 60.0)
    go = asyncio.Event()
    async with open_receiver(pause=go) as receiver:
        running = await installation.api.delivery(receiver.url)
        await wait_for(lambda: bool(receiver.received))
        stopping = asyncio.create_task(asyncio.to_thread(worker.stop, 60.0))
        await wait_for(lambda: "finishing what is running" in worker.log.read_text("utf-8"))
        late = await installation.api.delivery(receiver.url)
        go.set()
        assert await stopping == 0
        assert len(receiver.received) == 1
    assert (await installation.api.now(running)).status == "delivered"
    assert (await installation.api.now(late)).status == "pending"


async def test_what_does_not_finish_within_the_grace_is_handed_back_and_done_by_another(
    installation: Installation, start_worker: StartWorker
) -> None:
    leaving = await asyncio.to_thread(start_worker, 0.2)
    async with open_receiver(pause=asyncio.Event()) as hanging:
        delivery = await installation.api.delivery(hanging.url)
        await wait_for(lambda: bool(hanging.received))
        assert await asyncio.to_thread(leaving.stop, 60.0) == 0
    handed_back = await installation.api.now(delivery)
    assert (handed_back.status, handed_back.attempt, handed_back.lease_owner) == ("pending", 0, None)
    assert (await installation.api.moves(delivery))[-1] == "requeue"  # by itself: nobody had to rescue it
