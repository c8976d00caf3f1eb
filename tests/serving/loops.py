"""A loop for what threads do at the moment when it closes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Unnoticed(asyncio.SelectorEventLoop):
    """Closes just after somebody has looked whether it is closed."""

    is_noticed = False

    def is_closed(self) -> bool:
        """Whether it was a moment ago."""
        return self.is_noticed and super().is_closed()


@contextmanager
def closing_unnoticed() -> Iterator[Unnoticed]:
    """A loop to close in the block."""
    loop = Unnoticed()
    try:
        yield loop
    finally:
        loop.is_noticed = True
        loop.close()
