"""Figures about the work of this process: claims, outcomes, caretakers, wake-ups. Labels are lanes, kinds, names that
the code knows: never an id.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from workers.outcomes import Canceled, Done, Failed, Wait
from workers.recording import Broken, HandBack, Verdict

# From a webhook in the same room to an inspection or a deployment at its limit.
HANDLER_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0)
START_BUCKETS: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.25, 1.0, 2.0, 5.0, 15.0, 60.0, 600.0)


class WakeUpMetrics:
    """What is told to the lanes of this process (`here`) and, through the broker, to others (`elsewhere`)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("lane", "to")
        self.sent = Counter("portside_wakeups_sent", "Wake-ups that were sent.", labels, registry=registry)
        self.errors = Counter("portside_wakeup_errors", "Wake-ups that could not be sent.", labels, registry=registry)


class WorkMetrics:
    """What the executor, the relay and the caretakers count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        lane, kind = ("lane",), ("lane", "kind")
        self.claims = Counter("portside_claims", "Claims made by this process.", lane, registry=registry)
        self.outcomes = Counter(
            "portside_work_outcomes",
            "How claims ended: done, failed, canceled, wait, retry, exhausted (no attempt left), handed_back, lost.",
            (*kind, "outcome"), registry=registry,
        )  # fmt: skip
        self.handler_seconds = Histogram(
            "portside_handler_seconds", "From the claim to the handler's answer.", kind,
            registry=registry, buckets=HANDLER_BUCKETS,
        )  # fmt: skip
        self.start_seconds = Histogram(
            "portside_work_start_seconds", "From the moment that work was due to its claim.", lane,
            registry=registry, buckets=START_BUCKETS,
        )  # fmt: skip
        self.slots = Gauge("portside_lane_slots", "Claims that this process may hold.", lane, registry=registry)
        self.slots_used = Gauge("portside_lane_slots_used", "Claims that it holds.", lane, registry=registry)
        self.rescues = Counter("portside_rescues", "Work taken from a holder that was silent.", lane, registry=registry)
        self.given_up = Counter(
            "portside_rescues_given_up", "Work that failed because it was rescued too often.", lane, registry=registry
        )
        self.wake = WakeUpMetrics(registry)
        self.relay_errors = Counter("portside_relay_errors", "Looks at the lanes that failed.", registry=registry)

        self.care = CaretakerMetrics(registry)


class CaretakerMetrics:
    """What the caretakers of this process do; of all processes one is the leader of each."""

    def __init__(self, registry: CollectorRegistry) -> None:
        name = ("caretaker",)
        self.leader = Gauge(
            "portside_caretaker_leader", "1 where this process is the active one.", name, registry=registry
        )
        self.looks = Counter("portside_caretaker_looks", "Rounds that were made.", name, registry=registry)
        self.failures = Counter("portside_caretaker_failures", "Rounds that failed.", name, registry=registry)
        self.freed_bytes = Counter(
            "portside_sweeper_freed_bytes", "Bytes of blobs that were removed.", registry=registry
        )
        self.freed_blobs = Counter("portside_sweeper_freed_blobs", "Blobs that were removed.", registry=registry)
        self.removed_rows = Counter(
            "portside_sweeper_removed_rows", "Rows removed at the end of their time.", ("what",), registry=registry
        )


def unseen() -> WorkMetrics:
    """For parts that nobody scrapes."""
    return WorkMetrics(CollectorRegistry())


def outcome_of(verdict: Verdict | None, *, attempt: int, allowed: int | None) -> str:
    """How a claim ended, in one word; no verdict means that the claim was lost."""
    match verdict:
        case None:
            return "lost"
        case Done():
            return "done"
        case Failed():
            return "failed"
        case Canceled():
            return "canceled"
        case Wait():
            return "wait"
        case HandBack():
            return "handed_back"
        case Broken() | _:
            return "exhausted" if allowed is not None and attempt >= allowed else "retry"
