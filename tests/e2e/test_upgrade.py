"""A platform of the release before is upgraded to this one, process by process, under load: nobody notices."""

import http.client
import itertools
import json
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from cli.client import Document, Platform
from deploy.stack.process import ROOT
from deploy.stack.topology import Options, Topology
from state.migrations.newest import newest_schema
from tests.e2e.platform import until

RELEASE = ROOT / "tests" / "fixtures" / "releases" / "schema-0002.tar.xz"
EXAMPLES = ROOT / "examples"
ASKED = (EXAMPLES / "iris.onnx.input.json").read_bytes()
LIMIT_S = 60
# Between two requests of a client: the processes that start need the processor, too. What is written, and worked on
# later, costs ten times what is answered at once.
PAUSE_S = 0.02
PAUSE_OF_WRITERS_S = 0.1


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the release before."""
    folder = tmp_path_factory.mktemp("former")
    with tarfile.open(RELEASE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@dataclass
class Load:
    """Clients that keep asking; what each request was answered, and what was promised."""

    stack: Topology
    enough: threading.Event = field(default_factory=threading.Event)
    answers: Counter[str] = field(default_factory=Counter)
    accepted: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=work) for work in (self._predict, self._predict_later, self._describe)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.enough.set()
            for thread in threads:
                thread.join()

    def until_answered(self, count: int) -> None:
        """Wait for so many more good answers."""
        wanted = self.good + count
        until(lambda: True if self.good >= wanted or self.failed else None, 60, "the answers")

    @property
    def good(self) -> int:
        return sum(count for what, count in self.answers.items() if what.endswith((" 200", " 202", " 201")))

    @property
    def failed(self) -> dict[str, int]:
        return {what: n for what, n in self.answers.items() if not what.endswith((" 200", " 202", " 201"))}

    def _predict(self) -> None:
        """On one connection for as long as the other end lets it."""
        with self._connection() as connection:
            while not self.enough.wait(PAUSE_S):
                self._ask(connection, "predict", "POST", "/api/v1/services/iris/predict", ASKED)

    def _predict_later(self) -> None:
        while not self.enough.wait(PAUSE_OF_WRITERS_S):
            with self._connection() as connection:
                path = "/api/v1/services/iris/predictions"
                document = self._ask(connection, "predict later", "POST", path, ASKED)
                if document is not None:
                    self.accepted.append(str(document["id"]))

    def _describe(self) -> None:
        for number in itertools.count():
            if self.enough.wait(PAUSE_OF_WRITERS_S):
                return
            with self._connection() as connection:
                words = json.dumps({"description": f"the {number}th"}).encode()
                self._ask(connection, "describe", "PATCH", "/api/v1/models/iris", words)
                self._ask(connection, "list", "GET", "/api/v1/services?count=true", b"")

    @contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.url.rpartition(":")[2], timeout=LIMIT_S)  # type: ignore[arg-type]  # it takes a text, too
        try:
            yield connection
        finally:
            connection.close()

    def _ask(
        self, connection: http.client.HTTPConnection, what: str, method: str, path: str, body: bytes
    ) -> Document | None:
        headers = {"authorization": f"Bearer {self.stack.token}", "content-type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            document: Document = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.answers[f"{what} {error!r}"] += 1
            connection.close()
            return None
        if answer.status not in (200, 201, 202):
            self.answers[f"{what} {answer.status}: {document.get('detail')}"] += 1
            return None
        self.answers[f"{what} {answer.status}"] += 1
        return document


def test_a_platform_is_upgraded_under_load_without_a_failed_request(tmp_path: Path, former: Path) -> None:
    stack = Topology.start(tmp_path, Options(durable=False, supervised=False, source=former))
    try:
        with Platform(stack.url, stack.token) as api:
            deploy(api)
            assert schema(stack) == "0002"
            load = Load(stack)
            with load.running():
                load.until_answered(50)
                assert f"0002 → {newest_schema()}" in stack.migrate(ROOT)
                load.until_answered(50)
                for process in stack.processes:
                    process.source = ROOT
                    process.restart()
                    load.until_answered(20)
            assert load.failed == {}
            assert {what.rpartition(" ")[0] for what in load.answers} == {
                "predict",
                "predict later",
                "describe",
                "list",
            }
            for prediction in load.accepted:
                found = until(partial(finished, api, prediction), 120, prediction)
                assert found["status"] == "succeeded", found
            seen = api.get("/api/v1/system")["processes"]
            assert {each["schema_known"] for each in seen} == {newest_schema()}
            assert len(seen) == len(stack.processes)
    finally:
        stack.stop()


def deploy(api: Platform) -> None:
    upload = {"content-type": "application/octet-stream"}
    api.send("POST", "/api/v1/models/iris/versions", (EXAMPLES / "iris.onnx").read_bytes(), headers=upload)
    until(lambda: is_at(api, "/api/v1/models/iris/versions/1", "ready"), 60, "the inspection")
    api.call("POST", "/api/v1/services", {"name": "iris", "model": "iris", "replicas": 2})
    until(lambda: is_at(api, "/api/v1/services/iris", "running"), 60, "the deployment")


def is_at(api: Platform, path: str, status: str) -> bool | None:
    return True if api.get(path)["status"] == status else None


def finished(api: Platform, prediction_id: str) -> Document | None:
    found = api.get(f"/api/v1/predictions/{prediction_id}")
    return found if found["completed_at"] else None


def schema(stack: Topology) -> str:
    return stack.postgres.execute("SELECT version_num FROM alembic_version", "portside")
