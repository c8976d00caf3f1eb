"""A list of resources of one kind, for threads."""

from collections.abc import Iterator
from typing import Generic, TypeVar

from portside.facts import Facts
from portside.requests import path_to
from portside.session import Session, finish
from portside.waiting import Pages

One = TypeVar("One", bound=Facts)


class Collection(Generic[One]):
    """All resources of one kind. Both verbs raise `ConnectionFailed` and `ApiError`."""

    def __init__(self, session: Session, name: str, kind: type[One]) -> None:
        self._session, self._name, self._kind = session, name, kind

    def get(self, name: str) -> One:
        """One of them, by its name (operations, predictions and runs: by its id). Raises `NotFound`."""
        return self._kind.read(self._session, finish(self._session.get(path_to(self._name, name))))

    def list(self, **filters: str | int) -> Iterator[One]:
        """Those that match (`status="running"`, `**{"name.prefix": "a"}`), the newest first, page by page."""
        pages = Pages(self._session, path_to(self._name), filters)
        while (page := finish(pages.turn())) is not None:
            for each in page:
                yield self._kind.read(self._session, each)
