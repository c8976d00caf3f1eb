"""Every figure that a process of ours shows, by name: made without a process, for the reference and for tests."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from api.edge import Meter
from api.gateway.metrics import GatewayMetrics
from cli.metrics import Metrics
from state.metrics import LaneMetrics
from workers.metrics import WorkMetrics
from workers.node.metrics import NodeMetrics
from workers.node.runmetrics import RunMetrics

PARTS: Final = ("every process", "api", "worker", "node")


@dataclass(frozen=True, slots=True)
class Figure:
    """One family: the name as it is scraped (of a histogram without `_bucket`, `_sum` and `_count`)."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    part: str

    @property
    def series(self) -> tuple[str, ...]:
        """The names by which expressions may ask for it."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}{suffix}" for suffix in ("_bucket", "_count", "_sum"))


class _Listing(CollectorRegistry):
    """A registry that remembers what was registered, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.collectors: list[Collector] = []

    def register(self, collector: Collector) -> None:
        """Remember it."""
        self.collectors.append(collector)
        super().register(collector)


def figures() -> Sequence[Figure]:
    """All of them: what every process has, then what its parts add."""
    return [figure for part in PARTS for figure in _figures_of(part)]


def _figures_of(part: str) -> Iterator[Figure]:
    listing = _Listing()
    match part:
        case "api":
            Meter(listing)
            GatewayMetrics(listing)
            LaneMetrics(listing)
        case "worker":
            WorkMetrics(listing)
        case "node":
            NodeMetrics(listing)
            RunMetrics(listing)
        case _:
            Metrics(Path(), listing)
    for collector in listing.collectors:
        # A family of one's own says all of them; the library's types are one family each, and know their labels.
        own: tuple[str, ...] = getattr(collector, "_labelnames", ())
        describe = getattr(collector, "describe", collector.collect)
        for family in describe():
            if not family.name.startswith("portside_"):
                continue  # the library's own, which differ between systems
            labels = tuple(getattr(family, "_labelnames", own))
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Figure(name, family.type, labels, family.documentation, part)
