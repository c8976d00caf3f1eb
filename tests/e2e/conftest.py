"""One platform that is attacked by every test that asks for `wire`, and one stack for all that ask for `stack`."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.stack.topology import Options, Topology
from tests.e2e.platform import RunningPlatform, until
from tests.e2e.wire import Answer, Pulse, Wire, partial_files

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WAIT = {"Prefer": "wait=60"}
GOOD = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
# Alone /healthz takes 2 ms.
SLOWEST_S = 1.5
READY_S = 120
LARGEST_BYTES = 512 * 1024 * 1024


# Not for the session: what is not ended takes a part of the cores from all tests that come after those of this package.
@pytest.fixture(scope="package")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with the service `iris` (ONNX) and the service `risk` (PMML with categories)."""
    with RunningPlatform.start(tmp_path_factory.mktemp("attacked")) as platform:
        wire = Wire(platform.url)
        for name, file in (("iris", "iris.onnx"), ("risk", "diabetes-risk.pmml")):
            content = (EXAMPLES / file).read_bytes()
            raw = {"Content-Type": "application/octet-stream", **WAIT}
            succeeds(wire, wire.ask("POST", f"/api/v1/models/{name}/versions", content, raw))
            succeeds(wire, wire.ask_json("POST", "/api/v1/services", {"name": name, "model": name}, WAIT))
        yield platform


def succeeds(wire: Wire, answer: Answer) -> None:
    """It has, or does in its time: a Java that starts beside other tests may need more than one wait."""
    assert answer.status in (201, 202), answer.body
    path = urlsplit(answer.headers["operation-location"]).path

    def ended() -> str | None:
        operation = wire.ask("GET", f"{path}:wait?timeout=30").document
        return str(operation["status"]) if operation["done"] else None

    assert until(ended, READY_S, "what every test needs") == "succeeded"


@pytest.fixture
def wire(attacked: RunningPlatform) -> Iterator[Wire]:
    """Around each test: the platform answers others meanwhile, stays small, and after it predicts as before."""
    pulse = Pulse(attacked)
    yield Wire(attacked.url)
    pulse.stop()
    assert pulse.worst_s < SLOWEST_S
    assert pulse.peak_bytes < LARGEST_BYTES
    good = Wire(attacked.url).ask_json("POST", "/api/v1/services/iris/predict", GOOD)
    assert (good.status, attacked.process.poll()) == (200, None)
    assert until(lambda: None if partial_files(attacked) else True, 60, "cleaning up after a refused upload")


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """The production shape: real PostgreSQL, Redis and MinIO, two APIs, two workers, the node. Who dies comes back."""
    at_once = {"api": {"PORTSIDE_LEAVE_S": "0"}}  # its end is nobody's subject here
    topology = Topology.start(tmp_path_factory.mktemp("stack"), Options(durable=False, extra=at_once))
    yield topology
    topology.stop()
