"""The peers, each as its own documentation starts it, with one worker, and with logs of requests off where it can."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.environments import environment
from benchmarks.peers.server import Place, Server, locked_version, started
from benchmarks.peers.workloads import (
    CONV_SHAPE,
    IDENTITY_VALUES,
    MANY_ROWS,
    Ask,
    identity_bytes,
    image_rows,
    iris_rows,
    oip_binary,
    oip_grpc,
    oip_json,
    route_json,
)
from benchmarks.platform import ROOT
from benchmarks.wire import Connection
from deploy.stack.child import free_port

THEIRS = "benchmarks.peers.theirs"
TENSORS = {
    "iris": ("float_input", [4], "probabilities", [3]),
    "conv": ("image", [3, 32, 32], "scores", [10]),
    "identity": ("x", [IDENTITY_VALUES], "y", [IDENTITY_VALUES]),
}
TRITON_CONFIGURATION = """name: "{name}"
backend: "python"
max_batch_size: 256
input [{{ name: "{given}" data_type: TYPE_FP32 dims: {given_dims} }}]
output [{{ name: "{told}" data_type: TYPE_FP32 dims: {told_dims} }}]
instance_group [{{ kind: KIND_CPU count: 1 }}]
parameters {{ key: "path" value: {{ string_value: "{path}" }} }}
"""


# The backend's interpreter is isolated: it reads no PYTHONPATH.
TRITON_MODEL = f"""import os, sys
sys.path += os.environ["PYTHONPATH"].split(os.pathsep)
from {THEIRS}.triton_model import TritonPythonModel
"""
# Of an environment: where its packages are, the shared library of its Python, and that Python's own home.
WHERE = """import sys, sysconfig
print(sysconfig.get_path("purelib"), sysconfig.get_config_var("LIBDIR"), sys.base_prefix, sep="\\n")"""


def oip_asks(prefix: str = "/v2/models/", names: Mapping[str, str] | None = None) -> dict[str, Ask]:
    """What every server of the Open Inference Protocol can be asked over HTTP without an extension."""
    path = {name: f"{prefix}{(names or {}).get(name, name)}/infer" for name in TENSORS}
    return {
        "json": oip_json(path["iris"], "float_input", [1, 4], iris_rows(1)),
        "rows": oip_json(path["iris"], "float_input", [MANY_ROWS, 4], iris_rows(MANY_ROWS)),
        "conv": oip_json(path["conv"], "image", [1, *CONV_SHAPE], image_rows(*CONV_SHAPE)),
    }


def binary_ask(prefix: str = "/v2/models/") -> Ask:
    """The tensor that the identity model gives back."""
    return oip_binary(f"{prefix}identity/infer", "x", [1, IDENTITY_VALUES], identity_bytes())


def grpc_ask(model: str = "iris") -> Ask:
    """One row over gRPC."""
    return oip_grpc(model, "float_input", [1, 4], iris_rows(1))


def at(port: int, asks: Mapping[str, Ask]) -> dict[str, Ask]:
    """All of them to one port."""
    return {name: ask.at(port) for name, ask in asks.items()}


@contextmanager
def mlserver(place: Place) -> Iterator[Server]:
    """MLServer in one process."""
    python, folder = environment("peer-mlserver"), place.folder("mlserver")
    http, grpc, metrics = free_port(), free_port(), free_port()
    ports = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics}
    settings = {**ports, "debug": False, "parallel_workers": 0, "metrics_endpoint": None}
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    for name in ("iris", "conv"):
        (folder / name).mkdir()
        uri = str(place.models / f"{name}.onnx")
        wish = {"name": name, "implementation": f"{THEIRS}.mlserver_runtime.OnnxRuntime", "parameters": {"uri": uri}}
        (folder / name / "model-settings.json").write_text(json.dumps(wish), "utf-8")
    asks = {**at(http, oip_asks()), "grpc": grpc_ask().at(grpc)}
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    with started(place, "mlserver", command, asks["json"]) as (pid, took):
        yield Server.of_family("MLServer", asks, pid, locked_version("peer-mlserver", "mlserver"), took)


@contextmanager
def triton(place: Place) -> Iterator[Server]:
    """Triton's server from NVIDIA's wheel; the wheel brings the Python backend and no other."""
    python, folder = environment("peer-triton"), place.folder("triton")
    packages, libraries, home = _told(python, WHERE).splitlines()
    wheel = Path(packages) / "pytriton" / "tritonserver"
    backend = _triton_backend(wheel, folder / "backends" / "python")
    repository = folder / "models"
    for name in TENSORS:
        _describe_to_triton(name, repository / name, place.models)
    http, grpc = free_port(), free_port()
    command = [
        *(str(wheel / "bin" / "tritonserver"), "--model-repository", str(repository)),
        *("--backend-directory", str(backend.parent), "--allow-metrics", "false", "--log-info", "false"),
        *("--http-address", "127.0.0.1", "--http-port", str(http)),
        *("--grpc-address", "127.0.0.1", "--grpc-port", str(grpc)),
    ]
    # The backend's interpreter is no program of the environment: it must be told where all is.
    searched = f"{libraries}{os.pathsep}{Path(packages) / 'nvidia_pytriton.libs'}"
    settings = {"LD_LIBRARY_PATH": searched, "PYTHONHOME": home, "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}
    asks = {**at(http, {**oip_asks(), "binary": binary_ask()}), "grpc": grpc_ask().at(grpc)}
    with started(place, "triton", command, asks["json"], settings) as (pid, took):
        yield Server.of_family("Triton, Python backend", asks, pid, _triton_version(http), took)


@contextmanager
def litserve(place: Place) -> Iterator[Server]:
    """LitServe with one API server and one worker for each model."""
    port = free_port()
    command = [str(environment("peer-litserve")), "-m", f"{THEIRS}.litserve_api", str(port), str(place.models)]
    asks = _route_asks(port)
    with started(place, "litserve", command, asks["json"], {"LIT_SERVER_API_KEY": ""}) as (pid, took):
        yield Server.of_family("LitServe", asks, pid, locked_version("peer-litserve", "litserve"), took)


@contextmanager
def bentoml(place: Place) -> Iterator[Server]:
    """BentoML with one worker."""
    port, home = free_port(), place.folder("bentoml")
    program = environment("peer-bentoml").with_name("bentoml")
    command = [str(program), "serve", f"{THEIRS}.bentoml_service:Onnx", "--host", "127.0.0.1", "--port", str(port)]
    settings = {"BENCH_MODELS": str(place.models), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    asks = _route_asks(port)
    with started(place, "bentoml", command, asks["json"], settings) as (pid, took):
        yield Server.of_family("BentoML", asks, pid, locked_version("peer-bentoml", "bentoml"), took)


@contextmanager
def fastapi_route(place: Place) -> Iterator[Server]:
    """A plain route, in our own environment."""
    port = free_port()
    command = [sys.executable, "-m", f"{THEIRS}.fastapi_route", str(port), str(place.models)]
    asks = _route_asks(port)
    with started(place, "fastapi", command, asks["json"]) as (pid, took):
        yield Server.of_family("FastAPI route", asks, pid, locked_version("tests", "fastapi"), took)


def _route_asks(port: int) -> dict[str, Ask]:
    asks = {
        "json": route_json("/iris", iris_rows(1)),
        "rows": route_json("/iris", iris_rows(MANY_ROWS)),
        "conv": route_json("/conv", image_rows(*CONV_SHAPE)),
    }
    return at(port, asks)


def _triton_backend(wheel: Path, folder: Path) -> Path:
    """The Python backend with the wheel's stub for our interpreter, which it would look for beside itself in vain."""
    shutil.copytree(wheel / "backends" / "python", folder)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(wheel / "python_backend_stubs" / version / "triton_python_backend_stub", folder)
    return folder


def _describe_to_triton(name: str, folder: Path, models: Path) -> None:
    given, given_dims, told, told_dims = TENSORS[name]
    path = "" if name == "identity" else str(models / f"{name}.onnx")
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.py").write_text(TRITON_MODEL, "utf-8")
    text = TRITON_CONFIGURATION.format(
        name=name, given=given, given_dims=given_dims, told=told, told_dims=told_dims, path=path
    )
    (folder / "config.pbtxt").write_text(text, "utf-8")


def _triton_version(port: int) -> str:
    with Connection(("127.0.0.1", port)) as connection:
        version: str = connection.call("GET", "/v2").document["version"]
    return f"{version} of nvidia-pytriton {locked_version('peer-triton', 'nvidia-pytriton')}"


def _told(python: Path, code: str) -> str:
    """What a line of Python prints in an environment."""
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
