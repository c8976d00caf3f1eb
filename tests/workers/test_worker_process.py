"""`portside worker` as a process of its own: SIGTERM drains it, and what it cannot finish it hands back."""

import asyncio

from deploy.stack.process import PortsideProcess
from tests.workers.installation import Installation, StartWorker
from tests.workers.receiver import open_receiver


async def test_an_idle_worker_goes_at_once_with_status_0(start_worker: StartWorker) -> None:
    worker = await asyncio.to_thread(start_worker, 30.0)
    async with asyncio.timeout(5.0):
        assert await asyncio.to_thread(worker.stop, 20.0) == 0
    said = worker.log.read_text("utf-8")
    assert said.rstrip().endswith("Stopped.")
    assert "Traceback" not in said


async def test_a_worker_that_is_asked_to_stop_finishes_what_runs_and_begins_nothing(
    installation: Installation, start_worker: StartWorker
) -> None:
    worker = await asyncio.to_thread(start_worker, 30.0)
    go = asyncio.Event()
    async with open_receiver(pause=go) as receiver:
        running = await installation.api.delivery(receiver.url)
        async with asyncio.timeout(10.0):
            while not receiver.received:
                await asyncio.sleep(0.01)
        stopping = asyncio.create_task(asyncio.to_thread(worker.stop, 20.0))
        await said(worker, "finishing what is running")
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
        async with asyncio.timeout(10.0):
            while not hanging.received:
                await asyncio.sleep(0.01)
        assert await asyncio.to_thread(leaving.stop, 20.0) == 0
    handed_back = await installation.api.now(delivery)
    assert (handed_back.status, handed_back.attempt, handed_back.lease_owner) == ("pending", 0, None)
    assert (await installation.api.moves(delivery))[-1] == "requeue"  # by itself: nobody had to rescue it


async def said(worker: PortsideProcess, words: str) -> None:
    """Wait until the process has said it."""
    async with asyncio.timeout(10.0):
        while words not in worker.log.read_text("utf-8"):
            await asyncio.sleep(0.01)
