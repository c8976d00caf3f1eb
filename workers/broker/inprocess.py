"""Wake-ups within one process, over Dramatiq's in-memory broker: they arrive at once, and nothing is kept."""

from queue import Empty, Queue
from threading import Semaphore

from dramatiq import Consumer, Message, MessageProxy
from dramatiq.brokers.stub import StubBroker

WakeQueue = Queue[bytes]


class InProcessBroker(StubBroker):
    """Dramatiq's broker for one process, without its test comforts: no delay queue, dead letters or kept exceptions."""

    def declare_queue(self, queue_name: str) -> None:
        """Make the queue alone: the delay queue beside it would cost a consumer thread per lane."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = Queue()
            self.emit_after("declare_queue", queue_name)

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 100) -> Consumer:
        """A consumer that wakes at once; `timeout` is in milliseconds."""
        return InProcessConsumer(self.queues[queue_name], prefetch, timeout)


class InProcessConsumer(Consumer):
    """Takes at most `prefetch` messages that are not yet acknowledged."""

    def __init__(self, queue: WakeQueue, prefetch: int, timeout_ms: int) -> None:
        self._queue = queue
        self._timeout_s = timeout_ms / 1000
        self._room = Semaphore(prefetch)

    def __next__(self) -> MessageProxy | None:
        if not self._room.acquire(timeout=self._timeout_s):
            return None
        try:
            return MessageProxy(Message.decode(self._queue.get(timeout=self._timeout_s)))
        except Empty:
            self._room.release()
            return None

    def ack(self, message: MessageProxy) -> None:
        """Make room for the next."""
        self._queue.task_done()
        self._room.release()

    def nack(self, message: MessageProxy) -> None:
        """A wake-up that failed is not kept: the relay sends another while its row is due."""
        self.ack(message)
