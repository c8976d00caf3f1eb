"""A service's metrics as they are shown: per window, of the service and of each replica."""

from collections.abc import Sequence

from pydantic import Field

from api.schemas.base import Answer
from core.errors import Json
from state.documents import instant
from state.latencies import percentile
from state.queries.samples import Figures, ServiceFigures

PERCENTS = (50, 95, 99)


class LatencyShown(Answer):
    """Milliseconds that so many percent of the predictions did not exceed; at most 5 % beside the exact ones."""

    p50: float | None
    p95: float | None
    p99: float | None


class WindowShown(Answer):
    """The predictions and processes of the last `window_s` seconds; what was not seen is null."""

    window_s: int
    count: int = Field(description="Predictions that ended, whoever asked and how.")
    rps: float = Field(description="Predictions per second, on average over the window.")
    errors: int = Field(description="Answers of 500 and more.")
    refused: int = Field(description="Answers of 400 to 499, but for clients that went away before there was one.")
    error_rate: float | None = Field(description="Errors of all predictions, from 0 to 1.")
    latency_ms: LatencyShown = Field(
        description="Until the end of a replica's answer, as the gateway sees it; or the worker."
    )
    cpu: float | None = Field(description="Cores in use, on average.")
    memory_bytes: int | None = Field(description="The most that was in use at once.")


class ReplicaMetricsShown(Answer):
    """One replica; `GET …/replicas` says more of it."""

    id: str
    status: str
    windows: list[WindowShown]


class ServiceMetricsShown(Answer):
    """What a service and its replicas did lately. Samples are written every few seconds: the last may be missing.

    What no replica answered (the service was paused, none was ready) is counted for the service alone, and has no
    latency.
    """

    service: str
    windows: list[WindowShown]
    replicas: list[ReplicaMetricsShown] = Field(description="Those that are there or were in a window, newest first.")
    as_of: str


def metrics_document(name: str, windows_s: Sequence[int], found: ServiceFigures) -> dict[str, Json]:
    """The metrics object."""
    return {
        "service": name,
        "windows": _windows(windows_s, found.windows),
        "replicas": [
            {"id": replica.id, "status": replica.status, "windows": _windows(windows_s, replica.windows)}
            for replica in found.replicas
        ],
        "as_of": instant(found.as_of),
    }


def _windows(windows_s: Sequence[int], figures: Sequence[Figures]) -> list[Json]:
    return [_window(window_s, each) for window_s, each in zip(windows_s, figures, strict=True)]


def _window(window_s: int, seen: Figures) -> dict[str, Json]:
    return {
        "window_s": window_s,
        "count": seen.requests,
        "rps": round(seen.requests / window_s, 3),
        "errors": seen.errors,
        "refused": seen.refused,
        "error_rate": round(seen.errors / seen.requests, 6) if seen.requests else None,
        "latency_ms": {f"p{percent}": _ms(percentile(seen.latency, percent)) for percent in PERCENTS},
        "cpu": None if seen.cores is None else round(seen.cores, 4),
        "memory_bytes": seen.memory_bytes,
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
