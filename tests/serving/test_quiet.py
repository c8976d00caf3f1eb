"""A model server talks to nobody but its callers, and leaves nothing in its user's folders."""

import asyncio
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.serving.wire import Wire, connect, request

WATCHED_S = 2.0  # onnxruntime's telemetry looks for its server about a second after the first session


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a process may not list its connections")
async def test_a_replica_opens_no_connection_and_writes_no_file(
    repository_root: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home, path = tmp_path / "home", tmp_path_factory.mktemp("s") / "s"
    home.mkdir()
    command = [sys.executable, "-P", "-m", "serving", "--model", str(repository_root / "examples" / "iris.onnx")]
    environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"], "HOME": str(home)}
    command += ["--socket", str(path)]
    server = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert await server.stdout.readline()
        wire = await connect(path)
        try:
            await watch(wire, psutil.Process(server.pid))
        finally:
            await wire.end()
    finally:
        server.kill()
        await server.communicate()
    assert list(home.rglob("*")) == []


async def watch(wire: Wire, server: psutil.Process) -> None:
    status = 503
    while status == 503:
        wire.send(request("GET", "/readyz"))
        status = (await wire.reply()).status
    until = time.monotonic() + WATCHED_S
    while time.monotonic() < until:
        wire.send(request("POST", "/predict", {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}))
        assert (await wire.reply()).status == 200
        assert server.net_connections(kind="inet") == []
