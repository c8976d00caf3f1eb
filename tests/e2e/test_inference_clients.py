"""Triton's, KServe's and MLServer's clients, unmodified, each in an environment of its own: through the gateway of a
platform by a service's name, and directly at a model server. What they are told equals the bare engine's answer."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from deploy.stack.child import free_port
from tests.e2e.conftest import READY_S, WAIT, succeeds
from tests.e2e.environments import ROOT, make_environment, run_script
from tests.e2e.platform import RunningPlatform, until
from tests.e2e.wire import Wire

ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.2, 2.9, 4.3, 1.3]], np.float32)
KINDS = {
    "kind_bool": np.array([[True, False]]),
    **{
        f"kind_{name}": np.array([[np.iinfo(name).min, np.iinfo(name).max]], name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    **{f"kind_{name}": np.array([[1 / 3, -2e-5]], name) for name in ("float32", "float64")},
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the same is answered over HTTP and gRPC."""

    url: str
    grpc: str

    @property
    def http(self) -> str:
        return self.url.removeprefix("http://")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The questions, and the bare engine's answers."""
    session = onnxruntime.InferenceSession(str(ROOT / "examples" / "iris.onnx"), providers=["CPUExecutionProvider"])
    labels, scores = session.run(["output_label", "output_probability"], {"float_input": ROWS})
    probabilities = np.array([list(each.values()) for each in scores], np.float32)  # by class, as ZipMap has them
    path = tmp_path_factory.mktemp("given") / "given.npz"
    texts = np.array([str(label).encode() for label in labels])
    np.savez(path, allow_pickle=False, rows=ROWS, probabilities=probabilities, labels=texts, **KINDS)
    return path


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """A platform with the services `iris` and `kinds`."""
    with pytest.MonkeyPatch.context() as patch:
        port = str(free_port())
        patch.setenv("PORTSIDE_GRPC_PORT", port)
        platform = RunningPlatform.start(tmp_path_factory.mktemp("platform"))
    try:
        wire, octets = Wire(platform.url), {"Content-Type": "application/octet-stream", **WAIT}
        for name, content in (("iris", (ROOT / "examples" / "iris.onnx").read_bytes()), ("kinds", kinds_model())):
            succeeds(wire, wire.ask("POST", f"/api/v1/models/{name}/versions", content, octets))
            succeeds(wire, wire.ask_json("POST", "/api/v1/services", {"name": name, "model": name}, WAIT))
        yield Address(platform.url, f"127.0.0.1:{port}")
    finally:
        platform.end()


@pytest.fixture(scope="module")
def replica() -> Iterator[Address]:
    """A model server on its own, which asks for no token."""
    options = ["--model", str(ROOT / "examples" / "iris.onnx"), "--port", "0", "--grpc-port", "0"]
    command = [sys.executable, "-P", "-m", "serving", *options]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = {line.partition("://")[0]: line for line in (process.stdout.readline().strip() for _ in range(2))}
            wire = Wire(said["http"])
            until(lambda: wire.ask("GET", "/readyz").status == 200 or None, READY_S, "loading")
            yield Address(said["http"], said["grpc"].removeprefix("grpc://"))
        finally:
            process.kill()


@pytest.fixture(params=["gateway", "replica"])
def address(request: pytest.FixtureRequest) -> Address:
    found: Address = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("triton") / "environment", "triton")


@pytest.fixture(scope="module")
def kserve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("kserve") / "environment", "kserve")


@pytest.fixture(scope="module")
def mlserver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_environment(tmp_path_factory.mktemp("mlserver") / "environment", "mlserver")


def test_tritons_http_client(triton: Path, address: Address, given: Path) -> None:
    run_script(triton, "triton_http.py", address.http, str(given))


def test_tritons_grpc_client_equals_the_engine(triton: Path, address: Address, given: Path) -> None:
    run_script(triton, "triton_grpc.py", address.grpc, "equals_the_engine", str(given))


@pytest.mark.parametrize("check", ["tells_of_server_and_model", "infers", "streams", "is_refused", "does_the_rest"])
def test_tritons_grpc_client_of_a_replica(triton: Path, replica: Address, given: Path, check: str) -> None:
    run_script(triton, "triton_grpc.py", replica.grpc, check, str(given))


def test_kserves_clients(kserve: Path, address: Address, given: Path) -> None:
    run_script(kserve, "kserve_clients.py", address.url, address.grpc, str(given))


def test_mlservers_types(mlserver: Path, address: Address, given: Path) -> None:
    run_script(mlserver, "mlserver_types.py", address.url, str(given))


def test_curl_with_a_tensor_as_the_whole_body(address: Address) -> None:
    asked = ["curl", "-sS", f"{address.url}/v2/models/iris/infer", "-H", "Inference-Header-Content-Length: 0"]
    told = subprocess.run([*asked, "--data-binary", "@-"], input=ROWS.tobytes(), capture_output=True, check=True)
    assert b"setosa" in told.stdout, told.stdout[:500]


def kinds_model() -> bytes:
    """A model that gives back a tensor of each datatype that JSON and numpy have."""
    kinds = {name: helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in KINDS.items()}
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds],
        "kinds",
        [helper.make_tensor_value_info(name, kind, ["rows", 2]) for name, kind in kinds.items()],
        [helper.make_tensor_value_info(f"{name}_out", kind, ["rows", 2]) for name, kind in kinds.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
