"""The node with the real model server and a real model."""

import asyncio
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core.clock import now_micros
from tests.workers.node.world import World, is_running, open_world, until
from workers.node.launch import model_server
from workers.node.life import Rhythm
from workers.targets.base import SeenReplica


@pytest.fixture(scope="session")
def iris_file(repository_root: Path) -> Path:
    return repository_root / "examples" / "iris.onnx"


@pytest.fixture(scope="session")
def signature(iris_file: Path, repository_root: Path) -> dict[str, Any]:
    """What the model server says about the iris model."""
    return _inspected(iris_file, repository_root)


def _inspected(file: Path, repository_root: Path) -> dict[str, Any]:
    command = (sys.executable, "-P", "-m", "serving", "inspect", str(file))
    environment = {**os.environ, "PYTHONPATH": str(repository_root)}
    printed = subprocess.run(command, stdout=subprocess.PIPE, env=environment, timeout=60, check=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


@pytest.fixture
async def iris(data: Path, iris_file: Path, signature: dict[str, Any]) -> AsyncIterator[World]:
    """A running node that is asked to serve the iris model."""
    async with open_world(data, await asyncio.to_thread(iris_file.read_bytes)) as world:
        await world.node(Rhythm(), model_server(world.settings)).start()
        await world.target.apply(world.spec(signature=signature, memory_mb=1024, cpu=1.0))
        yield world


async def status_line(address: str, path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(address.removeprefix("unix://"))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    return line


async def test_a_killed_model_server_is_replaced_at_once(iris: World) -> None:
    [first] = await iris.ready(1)
    assert first.address is not None
    assert await status_line(first.address, "/readyz") == b"HTTP/1.1 200 OK\r\n"
    killed_at = now_micros()
    os.kill(await iris.pid(first.id), signal.SIGKILL)
    [ended] = await iris.ended("failed")
    assert (ended.id, ended.reason) == (first.id, "killed")  # known by its end, and not by its silence
    [second] = await iris.ready(1)
    assert second.created_at - killed_at < 12_000_000  # how long it takes to load its model is the machine's business
    assert second.address is not None
    assert await status_line(second.address, "/readyz") == b"HTTP/1.1 200 OK\r\n"


async def test_a_model_server_that_is_no_longer_wanted_ends_in_peace(iris: World) -> None:
    [replica] = await iris.ready(1)
    pid = await iris.pid(replica.id)
    await iris.target.remove("svc_1", 1)
    [ended] = await iris.ended("stopped")
    assert (ended.id, ended.reason) == (replica.id, "not_wanted")
    assert not is_running(pid)


async def test_a_file_that_is_no_model_is_refused_with_the_reason(data: Path, signature: dict[str, Any]) -> None:
    async with open_world(data, b"no model at all") as world:
        await world.node(Rhythm(), model_server(world.settings)).start()
        await world.target.apply(world.spec(signature=signature))
        [first, *_] = await world.ended("failed")
        assert first.reason == "model_refused"
        assert first.message


async def test_a_gpu_that_is_not_there_is_the_reason_of_the_failure(iris: World, signature: dict[str, Any]) -> None:
    [served] = await iris.ready(1)
    await iris.target.apply(iris.spec(signature=signature, generation=2, revision_id="rev_2", cpu=1.0, gpu=1))
    refused = next(replica for replica in await iris.ended("failed") if replica.id != served.id)
    assert refused.reason == "gpu_missing"
    assert str(refused.message).startswith("a GPU was asked for and none can be used: ")


async def test_a_model_server_whose_java_crashes_is_replaced_and_its_log_kept(
    data: Path, repository_root: Path
) -> None:
    content = await asyncio.to_thread((repository_root / "examples" / "iris-logistic.pmml").read_bytes)
    pmml = await asyncio.to_thread(_inspected, repository_root / "examples" / "iris-logistic.pmml", repository_root)
    async with open_world(data, content) as world:
        await world.node(Rhythm(), model_server(world.settings)).start()
        await world.target.apply(world.spec(signature=pmml, cpu=1.0))
        [first] = await world.ready(1)
        os.kill(await world.pid(first.id), signal.SIGSEGV)  # what Java makes a report of, and ends by
        [ended] = await world.ended("failed")
        assert str(ended.message).startswith("ended with exit code 1\n")  # and the end of the report
        [second] = await world.ready(1)
        assert second.id != first.id


async def test_a_replica_starts_only_on_the_runtime_that_is_pinned(iris: World, signature: dict[str, Any]) -> None:
    await iris.ready(1)
    engine_version, python = signature["engine_version"], platform.python_version()
    pinned = {"engine": "onnxruntime", "engine_version": engine_version, "python": python.rpartition(".")[0]}
    wish = partial(iris.spec, signature=signature, memory_mb=1024, cpu=1.0)
    await iris.target.apply(wish(generation=2, revision_id="rev_2", runtime=pinned))

    async def replaced() -> list[SeenReplica]:
        """The second one, once it is alone: of two the node would keep the one that was there before."""
        found = await iris.seen("ready")
        return found if [replica.revision_id for replica in found] == ["rev_2"] else []

    [second] = await until(replaced)
    await iris.target.apply(wish(generation=3, revision_id="rev_3", runtime={**pinned, "engine_version": "0.1"}))
    [failed, *_] = await iris.ended("failed")
    assert failed.reason == "runtime_missing"
    assert f"engine_version 0.1, python {pinned['python']}, and here is onnxruntime {engine_version}" in str(
        failed.message
    )
    assert [replica.id for replica in await iris.seen("ready")] == [second.id]
