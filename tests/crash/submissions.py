"""Requests that are under way when the platform is killed: sent from a thread, accepted or broken off."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cli.client import Document, Platform
from cli.failure import CommandFailed
from tests.crash.artifacts import Artifact
from tests.crash.site import STEADY, Site

Accepted = TypeVar("Accepted")
LONGEST_S = 30.0
BROKEN = re.compile(r"broke off|[Nn]o platform answers")


class Background(Generic[Accepted]):
    """One piece of a client's work in a thread of its own."""

    def __init__(self, work: Callable[[], Accepted]) -> None:
        threads = ThreadPoolExecutor(1)
        self._future: Future[Accepted] = threads.submit(work)
        threads.shutdown(wait=False)

    def is_done(self) -> bool:
        return self._future.done()

    def outcome(self) -> Accepted:
        return self._future.result(LONGEST_S)


def accepted_or_nothing(call: Callable[[], Accepted]) -> Accepted | None:
    """The answer of a request that was accepted; nothing when the connection broke."""
    try:
        return call()
    except CommandFailed as failed:
        if BROKEN.search(str(failed)):
            return None
        raise


@dataclass
class Upload:
    """An upload that is sent in two halves; the second one waits until it is allowed."""

    artifact: Artifact
    half_sent: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def pieces(self) -> Iterator[bytes]:
        middle = len(self.artifact.content) // 2
        yield self.artifact.content[:middle]
        self.half_sent.set()
        self.go_on.wait(LONGEST_S)
        yield self.artifact.content[middle:]

    def send(self, site: Site, model: str, key: str) -> Background[str | None]:
        """Begin to send it, under this Idempotency-Key."""
        return Background(lambda: accepted_or_nothing(lambda: site.upload(model, self.artifact, key, self.pieces())))


@dataclass
class Batch:
    """Predictions under ids of the client's own, sent one after the other; `accepted` grows with each 202."""

    ids: list[str]
    records: list[object]
    webhook: str
    accepted: list[str] = field(default_factory=list)

    def send(self, api: Platform) -> Background[None]:
        """Begin to send them all; ends early when the platform does."""
        return Background(lambda: self._send(api))

    def _send(self, api: Platform) -> None:
        for index in range(len(self.ids)):
            if accepted_or_nothing(lambda at=index: self.put(api, at)) is None:  # type: ignore[misc]  # a default binds the loop's value
                return
            self.accepted.append(self.ids[index])

    def put(self, api: Platform, index: int) -> Document:
        """Submit one of them, or join it."""
        record = self.records[index % len(self.records)]
        body = {"inputs": record, "webhook": self.webhook, "webhook_events_filter": ["completed"]}
        return api.call("PUT", f"/api/v1/services/{STEADY}/predictions/{self.ids[index]}", body).document
