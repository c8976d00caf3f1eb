"""`python -m serving` as a process: what it prints, when it ends, and what it leaves behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest
from onnx import TensorProto, helper

from tests.serving.archives import two_models

DEADLINE_S = 120
Command = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(repository_root: Path) -> Iterator[Command]:
    """Start `python -m serving` with these arguments, as the platform does."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(
        *arguments: str | Path, env: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()
    ) -> "subprocess.Popen[bytes]":
        environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"], **(env or {})}
        command = [sys.executable, "-P", "-m", "serving", *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, pass_fds=pass_fds)
        )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def finished(process: "subprocess.Popen[bytes]", body: object = None) -> tuple[int, Any]:
    """Wait for the end; the exit status and what was printed, which is one JSON document."""
    out, errors = process.communicate(None if body is None else json.dumps(body).encode(), timeout=DEADLINE_S)
    assert out, errors.decode()
    return process.returncode, json.loads(out)


def address(process: "subprocess.Popen[bytes]") -> str:
    """The address that a server prints once it listens, as soon as it is ready."""
    assert process.stdout
    url = process.stdout.readline().decode().strip()
    assert url, process.communicate()[1].decode()
    return url.removeprefix("unix:") if url.startswith("unix:") else ready(url)


def ready(url: str) -> str:
    """The same address, once a model is loaded behind it."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=DEADLINE_S):
                return url
        except urllib.error.HTTPError as error:
            error.close()
            time.sleep(0.02)
    raise AssertionError("never ready")


def predict(url: str, body: object, **headers: str) -> Any:
    request = urllib.request.Request(f"{url}/predict", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as reply:
        return json.load(reply)


@pytest.mark.parametrize("name", ["iris.onnx", "diabetes-risk.onnx", "iris-logistic.pmml"])
def test_inspect_prints_a_signature_that_conforms_with_a_sample_that_predicts(
    start: Command, examples: Path, repository_root: Path, tmp_path: Path, name: str
) -> None:
    status, signature = finished(start("inspect", examples / name, "--timeout-s", str(DEADLINE_S)))
    assert status == 0
    schema = json.loads((repository_root / "serving/signature.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(signature)
    assert signature["sample_output"].keys() == {"label", "probabilities"}
    described = tmp_path / "signature.json"
    described.write_text(json.dumps(signature), encoding="utf-8")
    testing = start("test", "--model", examples / name, "--signature", described)
    status, answer = finished(testing, {"inputs": signature["sample"]})
    assert (status, answer["outputs"]) == (0, signature["sample_output"])
    assert (answer["stdout"], answer["duration_ms"] > 0) == ("", True)


def test_inspect_refuses_a_file_with_a_code_a_message_and_a_hint(start: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"")
    status, refusal = finished(start("inspect", path))
    assert (status, refusal["code"]) == (65, "empty_file")
    assert refusal.keys() == {"code", "message", "hint"}


@pytest.mark.parametrize("megabytes", [20, 250])
def test_inspect_says_when_its_memory_does_not_suffice(start: Command, tmp_path: Path, megabytes: int) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(greedy_model(values=100_000_000))
    status, refusal = finished(start("inspect", path, "--memory-mb", str(megabytes)))
    assert (status, refusal["code"]) == (65, "memory_limit_exceeded")


def greedy_model(values: int) -> bytes:
    """A small file whose graph fills this many floats when it runs."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [values])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["filled"]),
        helper.make_node("Add", ["filled", "x"], ["sum"]),
        helper.make_node("ReduceMax", ["sum"], ["y"], keepdims=1),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph(nodes, "greedy", [x], [y], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_test_tells_what_is_wrong_with_the_input(start: Command, examples: Path) -> None:
    process = start("test", "--model", examples / "iris.onnx")
    status, problem = finished(process, {"inputs": {"float_input": [1, 2, 3]}})
    assert (status, problem["code"], problem["status"]) == (65, "invalid_input", 422)
    assert problem["errors"][0]["pointer"] == "/inputs/float_input"
    assert problem["message"]


def test_what_code_prints_does_not_reach_the_answer(repository_root: Path) -> None:
    code = (
        "import os, serving.process as p; out = p.take_stdout(); print('noise', flush=True); "
        "os.system('echo noise'); out.write(b'data')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=repository_root, capture_output=True, timeout=DEADLINE_S, check=True)
    assert (done.stdout, done.stderr) == (b"data", b"noise\nnoise\n")


def test_what_stderr_does_not_take_is_lost(repository_root: Path) -> None:
    code = (
        "import os, sys, serving.process as p; os.set_blocking(2, False); p.forgive_full_log(); "
        "[print('x' * 100_000, file=sys.stderr) for _ in range(10)]; print('done')"
    )
    reader, writer = os.pipe()
    try:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=repository_root, stdout=subprocess.PIPE, stderr=writer, timeout=DEADLINE_S)
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_a_server_says_its_address_answers_and_ends_at_sigterm(start: Command, examples: Path) -> None:
    names = {"PORTSIDE_SERVICE": "flowers", "PORTSIDE_MODEL": "iris", "PORTSIDE_VERSION": "7"}
    server = start("--model", examples / "iris.onnx", "--port", "0", env=names)
    answer = predict(address(server), {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}})
    assert answer["outputs"]["label"] == "setosa"
    assert (answer["model"], answer["version"], answer["service"]) == ("iris", "7", "flowers")
    remote = [each.raddr for each in psutil.Process(server.pid).net_connections("inet") if each.status == "SYN_SENT"]
    assert remote == []
    server.send_signal(signal.SIGTERM)
    assert server.wait(DEADLINE_S) == 0


def test_the_models_of_an_archive_are_inspected_tried_and_served_by_their_keys(
    start: Command, examples: Path, repository_root: Path, tmp_path: Path
) -> None:
    archive, described = two_models(tmp_path / "models.zip", examples), tmp_path / "signature.json"
    status, signature = finished(start("inspect", archive, "--timeout-s", str(DEADLINE_S)))
    assert status == 0
    schema = json.loads((repository_root / "serving/signature.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(schema).validate(signature)
    described.write_text(json.dumps(signature), encoding="utf-8")
    body = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
    model = ("--model", archive, "--signature", described)
    status, tried = finished(start("test", *model, "--part", "de"), body)
    assert (status, tried["outputs"]["label"]) == (0, "setosa")
    server = start(*model, "--port", "0", env={"TMPDIR": str(tmp_path)})
    url = address(server)
    assert (predict(f"{url}/parts/de", body)["outputs"], predict(f"{url}/parts/de", body)["part"]) == (
        tried["outputs"],
        "de",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models.zip", "signature.json"]
    server.send_signal(signal.SIGTERM)
    assert server.wait(DEADLINE_S) == 0


A_FULL_DISK = """
import errno, io, pathlib, sys
from serving.score import Identity
from serving.server import Listen, run_server

def load():
    raise OSError(errno.ENOSPC, "No space left on device")

listen = Listen("", 0, socket_path=pathlib.Path(sys.argv[1]))
sys.exit(run_server(listen, Identity("iris", "iris", "iris", "1"), load, io.BytesIO()))
"""


def test_a_disk_that_is_full_while_a_model_is_read_ends_the_server_in_words(
    repository_root: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-P", "-c", A_FULL_DISK, str(tmp_path / "s")]
    environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    assert (done.returncode, done.stderr) == (1, "the model cannot be read: [Errno 28] No space left on device\n")


def test_a_request_that_has_begun_is_finished_after_sigterm(
    start: Command, examples: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("s") / "s"  # a socket's path has at most 107 bytes
    server = start("--model", examples / "iris.onnx", "--socket", path, "--grace-s", str(DEADLINE_S))
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE_S)
        client.connect(address(server))
        wait_until_ready(client)
        body = b'{"inputs":{"float_input":[5.1,3.5,1.4,0.2]}}'
        client.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        assert client.recv(100).startswith(b"HTTP/1.1 100")
        server.send_signal(signal.SIGTERM)
        wait_until_closed(path)
        client.sendall(body)
        reply = client.recv(10_000)
    assert reply.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in reply
    assert server.wait(DEADLINE_S) == 0
    assert not path.exists()


def wait_until_ready(client: socket.socket) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        client.sendall(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        if client.recv(1000).startswith(b"HTTP/1.1 200"):
            return
        time.sleep(0.02)
    raise AssertionError("never ready")


def wait_until_closed(path: Path) -> None:
    """Wait until nobody listens on the socket any more."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(path))
            except OSError:
                return
        time.sleep(0.01)
    raise AssertionError("still listening")


@pytest.mark.parametrize("is_ready", [True, False])
def test_a_server_ends_with_its_parent(start: Command, examples: Path, is_ready: bool) -> None:
    read_end, write_end = os.pipe()
    arguments = ("--model", examples / "iris.onnx", "--port", "0", "--parent-fd", str(read_end))
    server = start(*arguments, pass_fds=(read_end,))
    os.close(read_end)
    if is_ready:
        address(server)
    os.close(write_end)
    assert server.wait(DEADLINE_S) == 0


def test_a_token_guards_a_port(start: Command, examples: Path) -> None:
    arguments = ("--model", examples / "iris.onnx", "--port", "0", "--token-env", "TOKEN")
    url = address(start(*arguments, env={"TOKEN": "secret"}))
    body = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        predict(url, body)
    assert predict(url, body, authorization="Bearer secret")["outputs"]["label"] == "setosa"


def test_a_bound_socket_in_the_place_of_stdin_is_listened_on_and_passed_to_nobody(
    repository_root: Path, examples: Path
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        command = [sys.executable, "-P", "-m", "serving", "--model", str(examples / "iris.onnx"), "--listen-fd", "0"]
        environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"]}
        server = subprocess.Popen(command, env=environment, stdin=listener.fileno(), stdout=subprocess.PIPE)
    try:
        assert address(server) == f"http://127.0.0.1:{port}"
        assert Path(f"/proc/{server.pid}/fd/0").resolve() == Path("/dev/null")
    finally:
        server.kill()
        server.communicate()
    with socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) != 0


def test_a_full_disk_under_the_log_ends_no_server(repository_root: Path, examples: Path) -> None:
    with socket.socket() as listener, Path("/dev/full").open("wb") as log:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-P", "-m", "serving", "--model", str(examples / "iris.onnx"), "--listen-fd", "0"]
        environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"]}
        server = subprocess.Popen(command, env=environment, stdin=listener.fileno(), stdout=log, stderr=log)
    try:
        ready(url)
        assert predict(url, {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}})["outputs"]["label"] == "setosa"
        server.terminate()
        assert server.wait(DEADLINE_S) == 0
    finally:
        server.kill()
        server.wait()


def test_a_busy_port_is_one_sentence(start: Command, examples: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = start("--model", examples / "iris.onnx", "--port", str(port))
        _, errors = server.communicate(timeout=DEADLINE_S)
    assert server.returncode == 2
    assert (errors.decode().count("\n"), f"cannot listen on 127.0.0.1:{port}" in errors.decode()) == (1, True)


def test_a_model_that_cannot_start_says_why_and_ends(start: Command, tmp_path: Path) -> None:
    path = tmp_path / "model.pmml"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    server = start("--model", path, "--port", "0")
    _, errors = server.communicate(timeout=DEADLINE_S)
    assert server.returncode == 65
    assert "the model cannot be served: the file seems to be an image" in errors.decode()


def test_a_wrong_signature_is_one_sentence(start: Command, examples: Path, tmp_path: Path) -> None:
    path = tmp_path / "signature.json"
    path.write_text("{}", encoding="utf-8")
    server = start("--model", examples / "iris.onnx", "--signature", path)
    _, errors = server.communicate(timeout=DEADLINE_S)
    assert (server.returncode, errors.decode().count("\n")) == (2, 1)


@pytest.mark.parametrize("model", ["iris.onnx", "iris.pmml"])
def test_a_gpu_that_was_asked_for_and_is_not_there_ends_the_server_in_words(
    start: Command, examples: Path, model: str
) -> None:
    process = start("--model", examples / model, "--port", "0", "--gpu", "1")
    errors = process.communicate(timeout=DEADLINE_S)[1].decode()
    refusal = json.loads(errors.splitlines()[-1])
    assert (process.returncode, refusal["code"]) == (65, "gpu_missing")
    assert refusal["message"].startswith("a GPU was asked for and none can be used: ")


def test_a_server_says_what_runs_its_model(start: Command, examples: Path) -> None:
    url = address(start("--model", examples / "iris.onnx", "--port", "0"))
    with urllib.request.urlopen(f"{url}/v2", timeout=DEADLINE_S) as answer:
        assert json.load(answer)["execution_provider"] == "CPUExecutionProvider"


def test_a_java_that_crashes_takes_the_server_with_it_and_says_so(start: Command, examples: Path) -> None:
    process = start("--model", examples / "iris.pmml", "--port", "0")
    url = address(process)
    assert predict(url, {"inputs": {"sepal_length": 5, "sepal_width": 3, "petal_length": 1, "petal_width": 0.2}})
    process.send_signal(signal.SIGSEGV)
    errors = process.communicate(timeout=DEADLINE_S)[1].decode()
    assert process.returncode == 1
    assert "A fatal error has been detected by the Java Runtime Environment" in errors
