"""What a watcher has heard since its last look: the ids of what changed, until a look has seen to them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from state.signals import Signal

MOST_REMEMBERED = 10_000  # a worker that is not elected hears and never looks


class Heard:
    """Ids by what they are of. What a look that fails has taken is there for the next one."""

    def __init__(self, *names: str) -> None:
        self._changed: dict[str, set[str]] = {name: set() for name in names}

    def hears(self, signal: Signal) -> bool:
        """Remember it; answers whether it is of interest."""
        if signal.kind != "changed" or signal.name not in self._changed:
            return False
        self._remember(signal.name, {signal.id})
        return True

    @contextmanager
    def taken(self) -> Iterator[Mapping[str, set[str]]]:
        """All that was heard, which is forgotten unless this block fails; what comes meanwhile is heard."""
        taken, self._changed = self._changed, {name: set() for name in self._changed}
        is_seen_to = False
        try:
            yield taken
            is_seen_to = True
        finally:
            if not is_seen_to:
                for name, ids in taken.items():
                    self._remember(name, ids)

    def _remember(self, name: str, ids: set[str]) -> None:
        changed = self._changed[name]
        if len(changed) < MOST_REMEMBERED:
            changed |= ids
