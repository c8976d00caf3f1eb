"""`portside up` to /readyz 200, on a folder that is new and on one that holds a running service."""

from benchmarks.figures import Figure, in_words, median
from benchmarks.platform import EXAMPLES, fresh_folder, running

TRIES = 5
LIMIT_S = 3.0


def measure() -> list[Figure]:
    """Both starts, in turn."""
    fresh, existing = [], []
    with fresh_folder() as kept:
        with running(kept) as platform:
            platform.serve(EXAMPLES / "iris.onnx", "iris")
        for _ in range(TRIES):
            with fresh_folder() as data, running(data) as platform:
                fresh.append(platform.ready_s)
            with running(kept) as platform:
                existing.append(platform.ready_s)
    return [
        _figure("start to /readyz, new folder", fresh),
        _figure("start to /readyz, folder with a running service", existing),
    ]


def _figure(bar: str, samples: list[float]) -> Figure:
    return Figure(bar, f"median ≤ {LIMIT_S:g} s", in_words(samples, "s"), median(samples) <= LIMIT_S)
