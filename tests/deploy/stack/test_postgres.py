"""A PostgreSQL of the stack: it answers, recovers from a kill with what was committed, and leaves nobody behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.stack.child import StackFailed
from deploy.stack.postgres import PostgresServer
from tests.e2e.platform import none_is_left, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    started = PostgresServer.start(tmp_path_factory.mktemp("postgres"))
    yield started
    started.stop()


def test_what_was_committed_is_there_after_a_kill(server: PostgresServer) -> None:
    server.execute("CREATE TABLE kept AS SELECT generate_series(1, 100) AS number", "portside")
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    server.kill()
    assert none_is_left(family)
    with pytest.raises(StackFailed, match="refused"):
        server.execute("SELECT 1")
    server.restart()
    assert server.execute("SELECT count(*) FROM kept", "portside") == "100"


def test_it_is_durable_unless_told_otherwise(server: PostgresServer, tmp_path: Path) -> None:
    assert server.execute("SHOW fsync") == "on"
    careless = PostgresServer.start(tmp_path, durable=False)
    try:
        assert careless.execute("SHOW fsync") == "off"
    finally:
        careless.stop()


def test_a_database_can_be_a_copy(server: PostgresServer) -> None:
    server.create_database("origin")
    server.execute("CREATE TABLE here (a int)", "origin")
    assert server.create_database("copy", template="origin") == server.url_of("copy")
    assert server.execute("SELECT count(*) FROM here", "copy") == "0"


def test_a_paused_server_is_silent_and_goes_on_afterwards(server: PostgresServer) -> None:
    server.pause()
    try:
        asked = subprocess.Popen([server._programs / "psql", "-X", "-t", "-d", server.url, "-c", "SELECT 42"],
                                 stdout=subprocess.PIPE, text=True)  # fmt: skip
        with pytest.raises(subprocess.TimeoutExpired):
            asked.wait(0.3)
    finally:
        server.resume()
    said, _ = asked.communicate(timeout=60)
    assert said.strip() == "42"


def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib; from deploy.stack.postgres import PostgresServer as Server\n"
        "print(Server.start(pathlib.Path(sys.argv[1]), durable=False).pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        postmaster = psutil.Process(int(starter.stdout.readline()))
        family = [postmaster, *postmaster.children(recursive=True)]
    finally:
        starter.kill()
        starter.communicate()
    assert until(lambda: none_is_left(family), 60, "the end of PostgreSQL")
