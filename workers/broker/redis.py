"""Wake-ups between processes, over Redis: Dramatiq's broker with the bookkeeping taken out, because they are hints.

A lane is one list, shortened and with an expiry at each send; a worker pops from it, blocking, while it has room. That
wakes in 1 ms (Dramatiq's own fetching: 10 ms, for 8 % of a core per idle lane), and nothing piles up while workers
are away (ADR 0015).
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from dramatiq import Consumer, DramatiqError, Message, MessageProxy
from dramatiq.brokers.redis import RedisBroker
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import Unavailable

log = logging.getLogger(__name__)

HasRoom = Callable[[str], bool]

NAMESPACE = "portside"
# A woken lane works until nothing is due, so more wake-ups than there are slots in all workers are of no use.
MOST_WAITING = 256
# Workers were away for so long: they will look by themselves when they come.
KEPT_S = 10
POP_S = 0.25  # how long a consumer waits in Redis before it looks at its stop flag
ANSWER_S = 2.0  # a Redis that is silent for longer is taken for lost
AGAIN_S = 0.5
FULL_LOOK_S = 0.02  # how often a lane without room looks whether it has some


class BrokerUnavailable(Unavailable):
    """Redis did not take a wake-up; the lanes find the work when they look."""

    code, title = "broker_unavailable", "The broker does not answer"


def open_redis(url: str, has_room: HasRoom | None) -> "HintingRedisBroker":
    """The broker behind `redis://[user:password@]host[:port][/db][?namespace=NAME]`; connects when first used.

    Raises ValueError for a URL that cannot be.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    namespace = options.pop("namespace", NAMESPACE)
    pool = redis.ConnectionPool.from_url(
        urlunsplit(parts._replace(query=urlencode(options))),
        # A connection that a restart of Redis has cut is replaced at once; all other patience is ours.
        retry=Retry(NoBackoff(), 1),
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        protocol=2,
    )
    try:
        pool.connection_class(**pool.connection_kwargs)  # made and not opened: it knows which options there are
    except TypeError as error:
        raise ValueError(str(error)) from error
    where = f"{parts.hostname}:{parts.port or 6379}"
    return HintingRedisBroker(redis.Redis(connection_pool=pool), namespace, where, has_room or always)


class HintingRedisBroker(RedisBroker):
    """Dramatiq's Redis broker without delays, dead letters and acknowledgements."""

    def __init__(self, client: redis.Redis, namespace: str, where: str, has_room: HasRoom) -> None:
        # Dramatiq's class has no annotations.
        super().__init__(client=client, namespace=namespace, middleware=[])  # type: ignore[no-untyped-call]
        self.contact, self.has_room = Contact(where), has_room

    def declare_queue(self, queue_name: str) -> None:
        """Know the queue alone: the delay queue beside it would cost a consumer thread and a connection per lane."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def do_enqueue(self, queue_name: str, message_id: str, data: bytes) -> None:
        """Add a wake-up and bound what waits; called by Dramatiq's `enqueue`. Raises `BrokerUnavailable`."""
        key = self.key(queue_name)
        with redis_errors(self.contact):
            sending = self.client.pipeline(transaction=False)
            sending.rpush(key, data)
            sending.ltrim(key, -MOST_WAITING, -1)
            sending.expire(key, KEPT_S)
            sending.execute()

    def do_qsize(self, queue_name: str) -> int:
        """How many wake-ups wait. Raises `BrokerUnavailable`."""
        with redis_errors(self.contact):
            return int(cast(int, self.client.llen(self.key(queue_name))))

    def do_purge(self, queue_name: str) -> None:
        """Forget what waits. Raises `BrokerUnavailable`."""
        with redis_errors(self.contact):
            self.client.delete(self.key(queue_name))

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 500) -> Consumer:
        """A consumer that takes one wake-up at a time; `timeout` is in milliseconds."""
        return HintConsumer(self, queue_name, timeout / 1000)

    def close(self) -> None:
        """Let go of the connections that nobody is using."""
        self.client.connection_pool.disconnect(inuse_connections=False)

    def key(self, queue_name: str) -> str:
        """The name of a lane's list."""
        return f"{self.namespace}:wake:{queue_name}"


class HintConsumer(Consumer):
    """Pops a lane's wake-ups while this process has room for them."""

    def __init__(self, broker: HintingRedisBroker, queue_name: str, timeout_s: float) -> None:
        self._broker, self._queue_name = broker, queue_name
        self._timeout_s = min(timeout_s, POP_S)
        self._room = threading.Semaphore(1)

    def __next__(self) -> MessageProxy | None:
        if not self._room.acquire(timeout=self._timeout_s):
            return None
        message = None
        if self._broker.has_room(self._queue_name):
            message = self._pop()
        else:
            time.sleep(FULL_LOOK_S)
        if message is None:
            self._room.release()
        return message

    def ack(self, message: MessageProxy) -> None:
        """Make room for the next."""
        self._room.release()

    def nack(self, message: MessageProxy) -> None:
        """A wake-up that failed is not kept: whoever looks at the lane finds its row."""
        self.ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give back what this process took and will not begin, because it stops."""
        for message in messages:
            with suppress(BrokerUnavailable):
                self._broker.do_enqueue(self._queue_name, "", message.encode())

    def _pop(self) -> MessageProxy | None:
        try:
            with redis_errors(self._broker.contact):
                found = self._broker.client.blpop([self._broker.key(self._queue_name)], timeout=self._timeout_s)
        except BrokerUnavailable:
            time.sleep(AGAIN_S)
            return None
        if found is None:
            return None
        _, data = cast(tuple[bytes, bytes], found)
        try:
            return MessageProxy(Message.decode(data))
        except DramatiqError as error:
            log.warning("lane %s: what came from Redis is no wake-up (%s); it is dropped", self._queue_name, error)
            return None


def always(lane: str) -> bool:
    """There is room."""
    return True


class Contact:
    """Says once that Redis is lost and once that it is back, however many threads notice."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lock = threading.Lock()
        self._is_lost = False
        self.answers = 0

    def lost(self, error: redis.RedisError, answers: int) -> None:
        """A command failed that began when there had been so many answers; one that came since is the newer news."""
        with self._lock:
            if self._is_lost or self.answers != answers:
                return
            self._is_lost = True
            reason = str(error).rstrip(".") or type(error).__name__
            log.warning("Redis at %s does not serve (%s); the lanes find work by looking", self._where, reason)

    def answered(self) -> None:
        """A command was answered."""
        with self._lock:
            self.answers += 1
            if self._is_lost:
                self._is_lost = False
                log.info("Redis at %s serves again", self._where)


@contextmanager
def redis_errors(contact: Contact) -> Iterator[None]:
    """Map whatever the client raises to `BrokerUnavailable`: with a hint there is nothing else to be done."""
    answers = contact.answers
    try:
        yield
    except redis.RedisError as error:
        contact.lost(error, answers)
        raise BrokerUnavailable(f"Redis did not take it: {error}") from error
    contact.answered()
