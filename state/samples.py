"""The table of samples: what gateways and the node saw lately, from which a service's metrics are told."""

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from state.tables import Base, Owned


class Sample(Base, Owned):
    """What a gateway saw of a replica's predictions for some seconds, or the node of its process; kept for an hour.

    Without a replica: predictions of the service that none of its replicas answered.
    """

    __tablename__ = "samples"
    service_id: Mapped[str] = mapped_column(String(40))
    replica_id: Mapped[str | None] = mapped_column(String(40))
    requests: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    latency: Mapped[dict[str, Any] | None]  # how many in which bucket, see `state.latencies`
    cpu_micros: Mapped[int | None]  # processor time that was used within `over_micros` before `created_at`
    over_micros: Mapped[int | None]
    memory_bytes: Mapped[int | None]
    __table_args__ = (Index("ix_samples_service", "service_id", "created_at"),)
