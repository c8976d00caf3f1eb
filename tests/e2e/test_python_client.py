"""The Python client against a running platform, also when every answer to a change is lost once."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest

from portside import AsyncPortside, OperationFailed, Portside, Rejected, Retries
from tests.e2e.platform import RunningPlatform

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SETOSA = {"float_input": [5.1, 3.5, 1.4, 0.2]}
KEY = "idempotency-key"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    with RunningPlatform.start(tmp_path_factory.mktemp("client")) as platform:
        yield platform


@pytest.fixture
def platform(running: RunningPlatform) -> Iterator[Portside]:
    with Portside(running.url) as opened:
        yield opened


@pytest.fixture
async def awaited(running: RunningPlatform) -> AsyncIterator[AsyncPortside]:
    async with AsyncPortside(running.url) as opened:
        yield opened


class Lossy(ThreadingHTTPServer):
    """Passes every request on, and drops the answer to each change when it comes for the first time."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream = upstream
        self.lost: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Forward(BaseHTTPRequestHandler):
    server: Lossy

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        self.close_connection = True
        if not self.raw_requestline or not self.parse_request():
            return
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        url = f"{self.server.upstream}{self.path}"
        answer = httpx2.request(self.command, url, content=body, headers=headers, timeout=90, trust_env=False)
        key = self.headers.get(KEY)
        if key is not None and key not in self.server.lost:
            self.server.lost.append(key)
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "content-encoding", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@contextmanager
def lossy(upstream: str) -> Iterator[Lossy]:
    server = Lossy(upstream)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_file_becomes_an_answer_and_is_not_deployed_twice(running: RunningPlatform) -> None:
    with Portside(running.url) as platform:
        iris = platform.deploy(EXAMPLES / "iris.onnx")
        assert iris.predict(SETOSA)["label"] == "setosa"
        assert (iris.name, iris.status, iris.version, iris.ready_replicas) == ("iris", "running", "1", 1)
    with Portside(running.url) as platform:
        again = platform.deploy(EXAMPLES / "iris.onnx")
        assert (again.version, again.revision, again.raw["generation"]) == ("1", iris.revision, iris.raw["generation"])
        assert len(list(platform.models.get("iris").all_versions())) == 1


async def test_the_same_with_asyncio(awaited: AsyncPortside) -> None:
    with (EXAMPLES / "wine-clusters.onnx").open("rb") as handle:
        wine = await awaited.deploy(handle, "wine", wait=False)
    wine = await wine.wait()
    assert (wine.status, wine.model) == ("running", "wine")
    model = await awaited.models.get("wine")
    sample = (await model.version()).sample
    assert await wine.predict(sample) == (await (await wine.submit(sample)).wait()).output
    assert [each.version async for each in model.all_versions()] == ["1"]
    await (await wine.delete()).wait()
    await model.delete()
    assert "wine" not in [each.name async for each in awaited.models.list()]


def test_answers_that_are_lost_do_nothing_twice(running: RunningPlatform, platform: Portside) -> None:
    with lossy(running.url) as between, Portside(between.url, retries=Retries(first_pause_s=0.01)) as unlucky:
        lost = unlucky.deploy(EXAMPLES / "diabetes.onnx", "lossy")
        sample = unlucky.models.get("lossy").version().sample
        submitted = [lost.submit(sample).id for _ in range(2)]
        lost.restart().wait()
        assert len(between.lost) == 5, "an upload, a deployment, two predictions and a restart"
    assert [each.version for each in platform.models.get("lossy").all_versions()] == ["1"]
    made = [each.kind for each in platform.operations.list() if each.target["id"] == lost.id]
    assert sorted(made) == ["service.deploy", "service.restart"]
    assert {each.id for each in platform.predictions.list(service="lossy")} == set(submitted)


def test_what_is_wrong_is_told_with_its_reason(platform: Portside, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pmml"
    broken.write_text('<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header/></PMML>')
    with pytest.raises(OperationFailed, match=r"version\.inspect") as failed:
        platform.upload(broken, "broken")
    assert failed.value.code
    iris = platform.deploy(EXAMPLES / "iris.onnx")
    with pytest.raises(Rejected) as refused:
        iris.predict({"float_input": [5.1, "wide", 1.4, 0.2]})
    assert refused.value.errors[0].pointer.startswith("/inputs/float_input")
    assert refused.value.request_id


def test_another_file_rolls_the_service_and_a_paused_one_comes_back(platform: Portside, tmp_path: Path) -> None:
    file = tmp_path / "rolled.onnx"
    shutil.copy(EXAMPLES / "iris.onnx", file)
    rolled = platform.deploy(file)
    rolled.pause().wait()
    shutil.copy(EXAMPLES / "diabetes.onnx", file)
    assert (rolled.reload().status, platform.deploy(file).version) == ("paused", "2")
    assert rolled.reload().status == "running"
    rolled.rollback().wait()
    assert rolled.reload().predict(SETOSA)["label"] == "setosa"


def test_who_runs_the_platform_needs_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTSIDE_REQUIRE_TOKEN", "true")
    with RunningPlatform.start(tmp_path) as guarded:
        monkeypatch.setenv("PORTSIDE_DATA", str(tmp_path))
        with Portside(guarded.url) as platform:
            assert list(platform.services.list()) == []
