"""What holds due work back although somebody is free: conditions that a claim, and who looks for due work, adds."""

from sqlalchemy import ColumnElement, not_, or_

from state.circuits import can_take_more
from state.kinds import KINDS
from state.switches import DEPLOYS, is_off
from state.tables import Operation
from state.worktables import LANES


def gates(lane: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a lane; what none of them holds back may be claimed."""
    if lane == "deliver":
        return not_(is_off("webhooks")), can_take_more()
    if LANES[lane].table is not Operation:
        return ()
    # A newer release may have queued what this one does not know: it waits for one that does.
    is_known = Operation.kind.in_(sorted(KINDS))
    if lane == "control":
        # What has begun goes on: half a rollout is worse than a whole one.
        has_begun = Operation.started_at.is_not(None)
        return is_known, or_(Operation.kind.not_in(DEPLOYS), has_begun, not_(is_off("deploys")))
    return (is_known,)
