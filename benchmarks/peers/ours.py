"""Our model server on its own, our gateway before it, and what neither can be faster than."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from benchmarks.peers import forest
from benchmarks.peers.others import at, binary_ask, grpc_ask, oip_asks
from benchmarks.peers.server import Place, Server, on_core, started
from benchmarks.peers.workloads import (
    CONV_SHAPE,
    DENSE_SHAPE,
    MANY_RECORDS,
    Ask,
    columns_json,
    image_rows,
    oip_binary,
    packed,
    record_json,
)
from benchmarks.platform import Platform, fresh_folder, running
from deploy.stack.child import free_port

THIS = ""  # its version: the commit that is measured
ARROW = "application/vnd.apache.arrow.stream"


@contextmanager
def replica(place: Place) -> Iterator[Server]:
    """A model server for each model, as the node starts it: `python -m serving`."""
    asks: dict[str, Ask] = {}
    pids: dict[str, Sequence[int]] = {}
    with ExitStack() as ending:
        for file, names in _by_file().items():
            port = free_port()
            own = at(port, names)
            pid, took = ending.enter_context(_serving(place, file, port))
            asks |= own
            pids |= {name: [pid] for name in own}
            if file == "iris.onnx":
                ready_s = took
        yield Server("Portside replica", asks, pids, THIS, ready_s)


@contextmanager
def grpc_replica(place: Place) -> Iterator[Server]:
    """A model server that listens for gRPC too."""
    http, grpc = free_port(), free_port()
    with _serving(place, "iris.onnx", http, "--grpc-port", str(grpc)) as (pid, took):
        yield Server("Portside replica", {"grpc": grpc_ask().at(grpc)}, {"grpc": [pid]}, THIS, took)


@contextmanager
def arrow_replica(place: Place) -> Iterator[Server]:
    """A model server of the forest that is asked by Arrow."""
    port = free_port()
    body = (place.models / "forest.arrow").read_bytes()
    asks = {"forest": Ask("/predict", body, {"content-type": ARROW, "accept": ARROW}, port)}
    with _serving(place, "forest.onnx", port) as (pid, took):
        yield Server("Portside replica, Arrow", asks, {"forest": [pid]}, THIS, took)


@contextmanager
def batched(place: Place) -> Iterator[Server]:
    """Model servers that run requests together where trying has shown that it pays."""
    with _batching(place, "Portside replica, batching") as server:
        yield server


@contextmanager
def unbatched(place: Place) -> Iterator[Server]:
    """The same without."""
    with _batching(place, "Portside replica, no batching", "--max-batch", "1") as server:
        yield server


@contextmanager
def gateway(place: Place) -> Iterator[Server]:
    """`portside up` with a service of each model: the gateway in its process, and a replica, on one core."""
    with on_core(place.server_core), fresh_folder() as data, running(data) as platform:
        for name in ("iris", "identity", "conv"):
            platform.serve(place.models / f"{name}.onnx", name)
        asks = at(int(platform.address[1]), {**oip_asks(), "binary": binary_ask()})
        services = {"json": "iris", "rows": "iris", "conv": "conv", "binary": "identity"}
        pids = {name: [platform.process.pid, _replica_pid(platform, service)] for name, service in services.items()}
        yield Server("Portside gateway and replica", asks, pids, THIS, platform.ready_s)


@contextmanager
def empty(place: Place) -> Iterator[Server]:
    """Our connection protocol with a constant answer."""
    port = free_port()
    asks = {"json": oip_asks()["json"].at(port)}
    command = [sys.executable, "-m", "benchmarks.peers.empty", str(port)]
    with started(place, "empty", command, asks["json"]) as (pid, took):
        yield Server.of_family("empty answer", asks, pid, THIS, took)


@contextmanager
def _batching(place: Place, name: str, *options: str) -> Iterator[Server]:
    asks: dict[str, Ask] = {}
    pids: dict[str, Sequence[int]] = {}
    with ExitStack() as ending:
        for workload, model, shape in (("batch", "conv", CONV_SHAPE), ("batch-dense", "dense", DENSE_SHAPE)):
            port = free_port()
            pid, _ = ending.enter_context(_serving(place, f"{model}.onnx", port, *options))
            image = packed(image_rows(*shape))
            asks[workload] = oip_binary(f"/v2/models/{model}/infer", "image", [1, *shape], image).at(port)
            pids[workload] = [pid]
        yield Server(name, asks, pids, THIS)


def _by_file() -> Mapping[str, Mapping[str, Ask]]:
    oip = oip_asks()
    return {
        "iris.onnx": {"json": oip["json"], "rows": oip["rows"]},
        "conv.onnx": {"conv": oip["conv"]},
        "identity.onnx": {"binary": binary_ask()},
        "forest.pmml": {
            "pmml-row": record_json("/predict", forest.NAMES, forest.rows(1)[0]),
            "pmml-rows": columns_json("/predict", forest.NAMES, forest.rows(MANY_RECORDS)),
        },
    }


@contextmanager
def _serving(place: Place, file: str, port: int, *more: str) -> Iterator[tuple[int, float]]:
    command = [sys.executable, "-m", "serving", "--model", str(place.models / file), "--port", str(port), *more]
    with started(place, f"serving-{file}", command, Ask("/v2/health/ready", b"", port=port)) as found:
        yield found


def _replica_pid(platform: Platform, service: str) -> int:
    pid: int = platform.get(f"/api/v1/services/{service}/replicas")["items"][0]["pid"]
    return pid
