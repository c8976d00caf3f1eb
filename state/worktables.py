"""The lanes and the claimable tables behind them: how each names its statuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from state.tables import Delivery, Operation, Prediction

Work = Operation | Prediction | Delivery


@dataclass(frozen=True, slots=True)
class WorkTable:
    """How one claimable table names its statuses and moves (the claim takes the names per table)."""

    table: type[Any]
    waiting: str
    working: str
    finals: tuple[str, ...]


OPERATIONS = WorkTable(Operation, "queued", "running", ("succeeded", "failed", "canceled"))
PREDICTIONS = WorkTable(Prediction, "starting", "processing", ("succeeded", "failed", "canceled"))
DELIVERIES = WorkTable(Delivery, "pending", "sending", ("delivered", "failed"))
LANES: Mapping[str, WorkTable] = {
    "control": OPERATIONS,
    "run": OPERATIONS,
    "fetch": OPERATIONS,
    "predict": PREDICTIONS,
    "deliver": DELIVERIES,
}
