"""For information: predictions per second through the gateway and at a replica, side by side; durable work likewise."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from benchmarks.figures import Figure, median
from benchmarks.hammer import rate
from benchmarks.platform import EXAMPLES, Broken, Platform, fresh_folder, predict_path, running, sample_body
from benchmarks.wire import Connection, request

ROUNDS = 5
ROUND_S = 2.0
CONNECTIONS = 32
CLIENTS = 8
EACH = 40
MODEL = EXAMPLES / "iris.onnx"


def measure() -> list[Figure]:
    """All of it in one platform, one after another."""
    with fresh_folder() as data, running(data) as platform:
        platform.serve(MODEL, "iris")
        return [*_predictions(platform), *_durable(platform)]


def _predictions(platform: Platform) -> list[Figure]:
    body, replica = sample_body(MODEL), platform.replica_socket("iris")
    through, direct = [], []
    for _ in range(ROUNDS):
        through.append(rate(platform.address, request("POST", predict_path("iris"), body), CONNECTIONS, ROUND_S))
        direct.append(rate(replica, request("POST", "/predict", body), CONNECTIONS, ROUND_S))
    ratio = median([one / other for one, other in zip(through, direct, strict=True)])
    return [
        Figure(f"gateway, {CONNECTIONS} connections", "", f"{median(through):.0f} requests/s"),
        Figure(f"replica, {CONNECTIONS} connections", "", f"{median(direct):.0f} requests/s"),
        Figure("gateway to replica", "", f"{ratio:.2f} (median of {ROUNDS} pairs)"),
    ]


def _durable(platform: Platform) -> list[Figure]:
    prediction = request("POST", "/api/v1/services/iris/predictions", sample_body(MODEL), {"prefer": "wait=30"})
    kinds = {
        "async predictions, submitted and waited for": lambda number: prediction,
        "operations that change rows only (PATCH of a model)": lambda number: request(
            "PATCH", "/api/v1/models/iris", {"description": f"number {number}"}
        ),
    }
    return [Figure(what, "", f"{_rate(platform, ask):.0f} per second") for what, ask in kinds.items()]


def _rate(platform: Platform, ask: Callable[[int], bytes]) -> float:
    """Requests per second of a few clients; each request ends when its work has."""

    def client(index: int) -> None:
        with Connection(platform.address) as connection:
            for number in range(EACH):
                answer = connection.exchange(ask(index * EACH + number))
                if answer.status not in (200, 201):
                    raise Broken(f"answered {answer.status}: {answer.body[:500].decode(errors='replace')}")

    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(client, range(CLIENTS)))
    return CLIENTS * EACH / (time.perf_counter() - began)
