"""The installations on which runs are killed: either database, each with either store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.forge import Forge
from tests.crash.installation import Installation, Store, embedded
from tests.crash.stack import stack


@dataclass(frozen=True)
class Shape:
    """`database` sqlite is one process; postgres is the production shape, with Redis."""

    database: str
    store: Store

    @property
    def name(self) -> str:
        return f"{self.database}-{self.store}"

    def open(self, folder: Path, forge: Forge, settings: Mapping[str, str]) -> Installation:
        """An installation with its servers; its own processes are not started yet."""
        opened: Callable[..., Installation] = stack if self.database == "postgres" else embedded
        return opened(folder, forge, settings, store=self.store)


SHAPES: Sequence[Shape] = (
    Shape("sqlite", "directory"),
    Shape("postgres", "directory"),
    Shape("sqlite", "s3"),
    Shape("postgres", "s3"),
)


def shapes_of(*, with_servers: bool, store: Store | None) -> Sequence[Shape]:
    """One shape: without a word the store that is usual with the database."""
    usual: Store = "s3" if with_servers else "directory"
    return [Shape("postgres" if with_servers else "sqlite", store or usual)]
