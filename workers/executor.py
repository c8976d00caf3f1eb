"""The pipe that every unit of work goes through: claim → guard → work → record.

Two short transactions around the work; nothing is written by who no longer holds the claim.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from core.clock import to_micros
from core.errors import DatabaseBusy, PlatformError, Unavailable
from core.failpoints import failpoint
from state.claims import ClaimLost, Haul, attempts_of, take_many
from state.kinds import KINDS
from state.signals import Signal
from state.tables import Operation, Prediction
from state.worktables import LANES
from workers.heartbeat import Heartbeat
from workers.lanes import Lane
from workers.outcomes import Canceled, Failed, Outcome, Retry
from workers.recorder import Recorder
from workers.recording import AttemptsExhausted, Broken, HandBack, Verdict
from workers.resources import Clock, Held, Lease, Resources
from workers.tracing import traced

log = logging.getLogger(__name__)

Handler = Callable[[Held, Resources], Awaitable[Outcome]]

# A handler's own limits end it first; these are for what hangs.
PREDICT_S = 660.0
DELIVER_S = 60.0
MARGIN_S = 60.0
DELIVERY_ATTEMPTS = 10  # the schedule of API.md section 5
BUSY_S = 0.02
RECORD_AGAIN_S = 0.2
RECORD_GRACE_S = 3.0  # at stop: time for cancelled handlers to clean up and for their claims to be handed back


class DeadlinePassed(PlatformError):
    """The work's deadline passed before it was done."""

    status, code, title = 504, "deadline_passed", "Not done by its deadline"


class Executor:
    """Holds at most `settings.lanes[lane]` claims per lane at a time and works on them on this event loop.

    `handlers` maps operation kinds, and the lanes `predict` and `deliver`, to handlers.
    """

    def __init__(self, resources: Resources, handlers: Mapping[str, Handler], owner: str) -> None:
        settings = resources.settings
        self._resources, self._handlers, self._owner = resources, handlers, owner
        self._lease_micros = to_micros(timedelta(seconds=settings.lease_s))
        self._slots = {lane: slots for lane, slots in settings.lanes.items() if lane in LANES}
        self._lanes = {lane: Lane(lane, slots) for lane, slots in self._slots.items()}
        self._recorders = {lane: Recorder(resources.database, owner, self._attempts(lane)) for lane in self._slots}
        self._working: set[asyncio.Task[None]] = set()
        self._beats: set[Heartbeat] = set()
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        resources.database.subscribe(self._hear)
        for lane, slots in self._slots.items():
            resources.metrics.slots.labels(lane).set(slots)
            resources.metrics.claims.labels(lane)  # shown as 0: that nobody claims must be seen, too

    @property
    def slots(self) -> Mapping[str, int]:
        """The lanes that this worker works on, and how many claims it may hold in each."""
        return self._slots

    def free(self, lane: str) -> int:
        """How many more claims of the lane may be held now."""
        return self._slots[lane] - self._lanes[lane].held

    def limit_s(self, lane: str) -> float | None:
        """The longest that one handler of the lane may run; runs end when they end."""
        settings = self._resources.settings
        limits = {
            "predict": PREDICT_S,
            "deliver": DELIVER_S,
            "run": None,
            "fetch": settings.source_timeout_s + MARGIN_S,
        }
        return limits.get(lane, max(settings.inspect_timeout_s, settings.deploy_timeout_s) + MARGIN_S)

    async def work_next(self, lane: str) -> bool:
        """Claim whose turn it is, for each free slot, and begin on it; False when nothing more is due.

        Waits for a free slot, and leaves it to somebody who waits already.
        """
        place = self._lanes[lane]
        if place.is_next_looking:
            return False
        place.is_next_looking, waits = True, True
        try:
            async with place.looking:
                await place.wait_for_room()
                place.is_next_looking = waits = False
                return not self._stopping and await self._claim(place)
        except DatabaseBusy as error:
            log.warning("lane %s: %s; the relay looks again", lane, error)
            return False
        finally:
            if waits:  # given up before its turn
                place.is_next_looking = False

    async def stop(self, grace_s: float) -> None:
        """Claim nothing more, let running work finish within the grace, then hand the rest back."""
        self._stopping = True
        if not await self._is_idle_within(grace_s):
            for beat in list(self._beats):
                beat.end("stopped")
            if not await self._is_idle_within(RECORD_GRACE_S):
                log.warning("%d handlers did not stop; their leases run out", len(self._beats))
        await self._resources.replicas.close()

    async def _is_idle_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return self._idle.is_set()

    async def _claim(self, place: Lane) -> bool:
        lease = Lease(time.monotonic() + self._lease_micros / 1_000_000)
        room = place.room()
        place.was_full = bool(room.full)
        place.is_claiming = True
        self._idle.clear()
        try:
            haul = await take_many(
                self._resources.database, place.name, self._owner, self._lease_micros, room, place.turns
            )
            if haul.taken:
                failpoint("after_claim")
            self._begin(place, haul, lease)
        finally:
            place.is_claiming = False
            self._tell_slots(place)
        if haul.more and not haul.taken:
            await asyncio.sleep(BUSY_S)  # a target is locked, or another claimer was quicker
        return haul.more

    def _begin(self, place: Lane, haul: Haul, lease: Lease) -> None:
        for taken in haul.taken:
            held = Held(taken.claim, taken.row, replace(lease), Clock(taken.at), taken.destination)
            place.hold(held.claim, held.row)
            task = asyncio.create_task(self._pipe(place, held), name=f"pipe {held.claim.id}")
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _pipe(self, place: Lane, held: Held) -> None:
        try:
            with traced(held, self._resources.metrics) as trace:
                verdict = self._guard(held) or await self._work(held)
                trace.answered(verdict, attempts_of(held.row, self._attempts(place.name)))
                if verdict is not None and not await self._record(held, verdict):
                    trace.lost()
        finally:
            place.let_go(held.claim)
            self._tell_slots(place)
        # What stood behind it (an operation on the same target, a delivery to the same receiver) may be due by now.
        if not self._stopping and (place.was_full or place.name != "predict"):
            while await self.work_next(place.name):
                pass

    def _tell_slots(self, place: Lane) -> None:
        self._resources.metrics.slots_used.labels(place.name).set(place.held)
        if all(lane.is_idle for lane in self._lanes.values()):
            self._idle.set()

    def _guard(self, held: Held) -> Verdict | None:
        """What ends the work, or sends it back, before it begins."""
        row = held.row
        if self._stopping:
            return HandBack("the worker stops")
        if row.cancel_requested:
            return Canceled("its owner asked for it")
        if held.is_late:
            return _late(held)
        allowed = attempts_of(row, self._attempts(held.claim.lane))
        if allowed is not None and row.attempt > allowed:
            message = f"{row.id} used all its {allowed} attempts"
            return Failed(AttemptsExhausted(message).as_problem())
        return None

    async def _work(self, held: Held) -> Verdict | None:
        """Run the handler beside its heartbeat; None when the claim was lost."""
        work = asyncio.create_task(self._handle(held), name=f"work {held.claim.id}")
        beat = Heartbeat(self._resources.database, held, self._lease_micros, work)
        beating = asyncio.create_task(_beat(beat), name=f"heartbeat {held.claim.id}")
        self._beats.add(beat)
        try:
            await asyncio.wait({work})
        finally:
            self._beats.discard(beat)
            work.cancel()
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating
        if beat.verdict == "lost":
            return None
        if work.cancelled():
            return HandBack("the worker stops") if beat.verdict == "stopped" else Canceled("its owner asked for it")
        return work.result()

    async def _handle(self, held: Held) -> Verdict | None:
        limit_s = self._time_left_s(held)
        timer = asyncio.timeout(limit_s)
        try:
            handler = self._handlers[held.row.kind if isinstance(held.row, Operation) else held.claim.lane]
            async with timer:
                return await handler(held, self._resources)
        except ClaimLost:
            return None
        except Unavailable as error:
            return Broken(Retry(error.message), error.as_problem())
        except Exception as error:
            if timer.expired():
                return self._too_slow(held, limit_s)
            log.exception("%s: attempt %d failed", held.claim.id, held.claim.attempt)
            return _broken(held, error)

    def _time_left_s(self, held: Held) -> float | None:
        of_kind = KINDS[held.row.kind].limit_s if isinstance(held.row, Operation) else None
        limits = [limit for limit in (self.limit_s(held.claim.lane), of_kind) if limit is not None]
        if held.row.deadline_at is not None:
            limits.append(max(0.0, (held.row.deadline_at - held.clock.now) / 1_000_000))
        return min(limits, default=None)

    def _too_slow(self, held: Held, limit_s: float | None) -> Verdict:
        if held.is_late:
            return _late(held)
        return Retry(f"it took longer than {limit_s:g} s")

    async def _record(self, held: Held, verdict: Verdict) -> bool:
        """Write the outcome; a database that is away is tried again while the claim can stand. False: not written."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + self._lease_micros / 1_000_000
        while True:
            try:
                await self._recorders[held.claim.lane].write(held, verdict)
                return True
            except ClaimLost as error:
                log.info("%s; its outcome is dropped", error)
                return False
            except DatabaseBusy as error:
                if loop.time() > give_up_at:
                    log.warning("%s: %s; the rescuer queues it again", held.claim.id, error)
                    return False
            except Exception as error:
                log.exception("%s: its outcome cannot be written", held.claim.id)
                if isinstance(verdict, Broken):
                    return False
                verdict = _broken(held, error)
            await asyncio.sleep(RECORD_AGAIN_S)

    def _attempts(self, lane: str) -> int:
        return DELIVERY_ATTEMPTS if lane == "deliver" else self._resources.settings.max_attempts

    def _hear(self, signals: frozenset[Signal]) -> None:
        changed = {signal.id for signal in signals if signal.kind == "changed"}
        for beat in self._beats:
            if beat.claim.id in changed:
                beat.hurry()


async def _beat(beat: Heartbeat) -> None:
    """The heartbeat; one that a bug ends ends the work, too, because nobody renews its lease any more."""
    try:
        await beat.beat()
    except Exception:
        log.exception("%s: the heartbeat failed; the rescuer queues the work again", beat.claim.id)
        beat.end("lost")


def _late(held: Held) -> Verdict:
    """A prediction asked to be canceled then (`Cancel-After`); an operation has failed."""
    if isinstance(held.row, Prediction):
        return Canceled("its deadline passed")
    return Failed(DeadlinePassed(f"{held.row.id} was not done by its deadline").as_problem())


def _broken(held: Held, error: Exception) -> Broken:
    """What a caller may know of an exception that is a bug of ours; the log has the rest."""
    message = f"{held.claim.id} failed inside the platform; the worker's log tells why"
    return Broken(Retry(f"internal error ({type(error).__name__})"), PlatformError(message).as_problem())
