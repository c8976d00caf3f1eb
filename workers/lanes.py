"""The slots of one lane of one worker: what is held, whether there is room, and whose turn it is next."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from state.claims import Claim
from state.turns import Room, Turns, share_of
from state.worktables import Work


@dataclass(slots=True)
class Lane:
    """Who looks at the lane takes its `looking` lock; whoever else comes meanwhile leaves it to the next in line."""

    name: str
    slots: int
    turns: Turns = field(default_factory=Turns)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_next_looking: bool = False  # somebody will look whose claim has not begun
    was_full: bool = False  # at the last look something could hold no more
    is_claiming: bool = False
    _held: dict[str, str | None] = field(default_factory=dict)
    _has_room: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._has_room.set()

    @property
    def held(self) -> int:
        """How many claims are held."""
        return len(self._held)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held, and nothing is about to be."""
        return not self._held and not self.is_claiming

    def room(self) -> Room:
        """What may be claimed now: half of the slots for one service, so that another one's work finds some free."""
        free = self.slots - self.held
        if self.name == "predict":
            services = Counter(share for share in self._held.values() if share is not None)
            return Room(free, max(1, self.slots // 2), services)
        # Receivers have limits over all workers (`state.circuits`), which count what was under way before this claim.
        return Room(free, 1 if self.name == "deliver" else None)

    def hold(self, claim: Claim, row: Work) -> None:
        """Take a slot."""
        self._held[_slot(claim)] = share_of(row)
        if self.held >= self.slots:
            self._has_room.clear()

    def let_go(self, claim: Claim) -> None:
        """Free the slot."""
        self._held.pop(_slot(claim), None)
        self._has_room.set()

    async def wait_for_room(self) -> None:
        """Until a slot is free."""
        await self._has_room.wait()


def _slot(claim: Claim) -> str:
    # Work that was given back may be claimed again before its first slot is free.
    return f"{claim.id}#{claim.epoch}"
