"""The in-process broker carries messages and keeps nothing."""

import dramatiq
import pytest

from tests.workers.platform import wait_for
from workers.broker.inprocess import InProcessBroker
from workers.broker.open import UnsupportedBrokerUrl, open_broker


@pytest.mark.parametrize("url", ["amqp://localhost", "inprocess", ""])
def test_another_scheme_is_refused_with_the_ones_that_exist(url: str) -> None:
    with pytest.raises(UnsupportedBrokerUrl, match="inprocess://"):
        open_broker(url)


async def test_a_message_that_fails_is_gone_and_the_next_one_arrives() -> None:
    broker = open_broker("inprocess://")
    assert isinstance(broker, InProcessBroker)
    seen: list[str] = []

    def work(word: str) -> None:
        seen.append(word)
        if word == "bad":
            raise ValueError(word)

    actor = dramatiq.actor(broker=broker, actor_name="work", queue_name="lane")(work)
    worker = dramatiq.Worker(broker, queues={"lane"}, worker_timeout=50, worker_threads=1)
    worker.start()
    try:
        for word in ["bad"] * 5 + ["good"]:
            actor.send(word)
        await wait_for(lambda: "good" in seen)
    finally:
        worker.stop()
    assert seen == ["bad"] * 5 + ["good"]
    assert broker.dead_letters == []
    assert list(broker.queues) == ["lane"]  # and no delay queue
    assert broker.queues["lane"].unfinished_tasks == 0
