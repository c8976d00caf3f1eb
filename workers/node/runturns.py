"""Whose run is begun next where more are wanted than may work at a time: the tenants take turns."""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from state.runplacing import WantedRun

LONGEST_PAUSE_S = 30.0  # after a death, however many there were
MOST_REMEMBERED = 10_000  # tenants


class RunTurns:
    """Who had a turn and when, in one term of the node."""

    def __init__(self) -> None:
        self._count = 0
        self._last: dict[str, int] = {}  # by tenant, the longest ago first

    def began(self, tenant_id: str) -> None:
        """A run of this tenant was begun."""
        self._count += 1
        self._last.pop(tenant_id, None)
        self._last[tenant_id] = self._count
        if len(self._last) > MOST_REMEMBERED:
            del self._last[next(iter(self._last))]

    def among(self, waiting: Iterable[WantedRun], working: Iterable[WantedRun]) -> Iterator[WantedRun]:
        """Those that wait, given the oldest first, in the order in which they are to begin.

        Next is always the oldest run of the tenant that has the fewest at work, those included that come before it
        here; of several such tenants, of the one that has waited longest for a turn. Where only one run may work, that
        alone decides: nobody's thousand runs hold up another tenant by more than one.
        """
        at_work = Counter(run.tenant_id for run in working)
        last, count = dict(self._last), self._count
        queues: dict[str, deque[WantedRun]] = {}
        for run in waiting:
            queues.setdefault(run.tenant_id, deque()).append(run)
        while queues:
            tenant = min(queues, key=lambda each: (at_work[each], last.get(each, 0), queues[each][0].run_id))
            yield queues[tenant].popleft()
            count += 1
            at_work[tenant], last[tenant] = at_work[tenant] + 1, count
            if not queues[tenant]:
                del queues[tenant]
