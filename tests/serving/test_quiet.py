"""A model server talks to nobody but its callers, and leaves nothing in its user's folders."""

import asyncio
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.serving.wire import connect, request

WATCHED_S = 2.0  # onnxruntime's telemetry looks for its server about a second after the first session


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a process may not list its connections")
async def test_a_replica_opens_no_connection_and_writes_no_file(repository_root: Path, tmp_path: Path) -> None:
    home, path = tmp_path / "home", tmp_path / "s"
    home.mkdir()
    command = [sys.executable, "-P", "-m", "serving", "--model", str(repository_root / "examples" / "iris.onnx")]
    environment = {"PYTHONPATH": str(repository_root), "PATH": os.environ["PATH"], "HOME": str(home)}
    command += ["--socket", str(path)]
    server = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert await server.stdout.readline()
        wire = await connect(path)
        status = 503
        while status == 503:
            wire.send(request("GET", "/readyz"))
            status = (await wire.reply()).status
        watched = psutil.Process(server.pid)
        until = time.monotonic() + WATCHED_S
        while time.monotonic() < until:
            wire.send(request("POST", "/predict", {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}))
            assert (await wire.reply()).status == 200
            assert watched.net_connections(kind="inet") == []
        wire.close()
    finally:
        server.kill()
        await server.wait()
    assert list(home.rglob("*")) == []
