"""What is measured: the workloads, who takes part in each, and the bars, which are ratios of two cells of one round."""

from dataclasses import dataclass
from typing import Literal

Measure = Literal["per_s", "p50_us", "p99_us"]
OIP = ("replica", "gateway", "mlserver", "triton")
JAVA_S = 5.0  # until its second compiler has done with a forest, beside the work
BATCHING = ("batched", "unbatched")
ROUTES = ("litserve", "bentoml", "fastapi")


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to ask; `ask` names the request where another workload has the same one."""

    name: str
    title: str
    peers: tuple[str, ...]
    connections: int
    streams: int = 1  # requests at once on each connection, where the protocol can
    share: float | None = None  # of its own greatest rate in this run; none: as fast as it goes
    same_as: str = ""
    warm_up_s: float = 1.0

    @property
    def ask(self) -> str:
        """The request's name."""
        return self.same_as or self.name


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("json", "one row of iris, JSON, 32 connections", (*OIP, *ROUTES, "empty"), 32),
        Workload("rows", "128 rows of iris, JSON, 16 connections", (*OIP, *ROUTES), 16),
        Workload("grpc", "one row of iris, gRPC, 8 connections with 4 streams", ("grpc", "mlserver", "triton"), 8, 4),
        Workload("binary", "1 MiB of FP32 there and back, binary, 4 connections", ("replica", "gateway", "triton"), 4),
        Workload("conv", "a residual network, JSON, 8 connections", (*OIP, *ROUTES), 8),
        Workload("batch", "the same network, binary, 64 connections", BATCHING, 64),
        Workload(
            "batch-dense",
            "convolutions with a dense layer behind, binary, 64 connections",
            BATCHING,
            64,
        ),
        Workload("forest", "1,000 rows of a forest of 50 trees, ONNX", ("arrow", "engine-forest"), 2),
        Workload("pmml-row", "one row of the same forest, PMML", ("replica", "engine-row"), 4, warm_up_s=JAVA_S),
        Workload("pmml-rows", "1,000 rows of the same forest, PMML", ("replica", "engine-rows"), 2, warm_up_s=JAVA_S),
        Workload("idle", "one row of iris, JSON, one connection", ("replica", "gateway"), 1, same_as="json"),
        Workload(
            "half",
            "one row of iris, JSON, 32 connections, at half of its own greatest rate",
            ("replica", "gateway", "mlserver", "triton"),
            32,
            share=0.5,
            same_as="json",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A cell against another one, and what their ratio, or difference in µs, must be at least or at most."""

    title: str
    workload: str
    measure: Measure
    peer: str
    against: str
    target: float
    is_ceiling: bool = False
    is_difference: bool = False

    def compare(self, ours: float, theirs: float) -> float:
        """The figure of one round."""
        return ours - theirs if self.is_difference else ours / theirs

    def is_met(self, figure: float) -> bool:
        """Whether a figure is good enough."""
        return figure <= self.target if self.is_ceiling else figure >= self.target

    def in_words(self, figure: float) -> str:
        """A figure with its unit."""
        return f"{figure:.0f} µs" if self.is_difference else f"{figure:.2f}x"

    @property
    def target_in_words(self) -> str:
        """What it must be."""
        unit = " µs" if self.is_difference else "x"
        return f"{'≤' if self.is_ceiling else '≥'} {self.target:g}{unit}"


BARS = (
    Bar("one-row JSON, direct to a replica, against MLServer", "json", "per_s", "replica", "mlserver", 15),
    Bar("one-row JSON, direct, against Triton (Python backend)", "json", "per_s", "replica", "triton", 4),
    Bar("one-row JSON, direct, against the empty answer", "json", "per_s", "replica", "empty", 0.5),
    Bar(
        "p99 at half of its own maximum, direct, against MLServer",
        *("half", "p99_us", "replica", "mlserver", 0.2),
        is_ceiling=True,
    ),
    Bar("one-row JSON, gateway and replica on one core, against MLServer", "json", "per_s", "gateway", "mlserver", 5),
    Bar(
        "p50 that the gateway adds on an idle connection",
        *("idle", "p50_us", "gateway", "replica", 150),
        is_ceiling=True,
        is_difference=True,
    ),
    Bar("gRPC one-row, against MLServer's gRPC", "grpc", "per_s", "grpc", "mlserver", 3),
    Bar("1 MiB binary tensor, identity, against Triton", "binary", "per_s", "replica", "triton", 0.8),
    Bar("dynamic batching, 64 clients, convolutions and a dense layer", "batch-dense", "per_s", *BATCHING, 1.5),
    Bar("1,000 rows by Arrow, forest ONNX, against the engine", "forest", "per_s", "arrow", "engine-forest", 0.9),
    Bar("PMML one row, against pypmml in process", "pmml-row", "per_s", "replica", "engine-row", 0.7),
    Bar("PMML 1,000 rows, against pypmml in process", "pmml-rows", "per_s", "replica", "engine-rows", 0.9),
)
READY_S = 0.8
