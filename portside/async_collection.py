"""A list of resources of one kind, for asyncio: the same as `collection.py`, with `await`."""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from portside.facts import Facts
from portside.requests import path_to
from portside.session import Session
from portside.waiting import Pages

One = TypeVar("One", bound=Facts)


class AsyncCollection(Generic[One]):
    """All resources of one kind. Both verbs raise `ConnectionFailed` and `ApiError`."""

    def __init__(self, session: Session, name: str, kind: type[One]) -> None:
        self._session, self._name, self._kind = session, name, kind

    async def get(self, name: str) -> One:
        """One of them, by its name (operations, predictions and runs: by its id). Raises `NotFound`."""
        return self._kind.read(self._session, await self._session.get(path_to(self._name, name)))

    async def list(self, **filters: str | int) -> AsyncIterator[One]:
        """Those that match (`status="running"`, `**{"name.prefix": "a"}`), the newest first, page by page."""
        pages = Pages(self._session, path_to(self._name), filters)
        while (page := await pages.turn()) is not None:
            for each in page:
                yield self._kind.read(self._session, each)
