"""Many requests to one replica over a few connections: its memory stays what it was.

`PORTSIDE_SOAK_REQUESTS` sets how many; the bar is for a million.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil

from benchmarks.cycles import flat
from benchmarks.figures import Figure
from benchmarks.platform import EXAMPLES, ROOT, Broken
from benchmarks.wire import Connection

REQUESTS = 1_000_000
CONNECTIONS = 4
SAMPLES = 20
SETTLED = 2  # the first tenth is warming up
BODY = {"inputs": {"float_input": [5.1, 3.5, 1.4, 0.2]}}


def measure() -> list[Figure]:
    """One replica of the iris model on a port of the loopback."""
    requests = int(os.environ.get("PORTSIDE_SOAK_REQUESTS", REQUESTS))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-P", "-m", "serving", "--model", str(EXAMPLES / "iris.onnx"), "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with log.open("wb") as errors:
            server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert server.stdout is not None
            host, _, port = server.stdout.readline().decode().strip().removeprefix("http://").rpartition(":")
            samples = _soak((host, int(port)), psutil.Process(server.pid), requests)
        finally:
            server.terminate()
            server.wait()
    return [flat(f"{requests:,} requests, resident memory of the replica", samples)]


def _soak(address: tuple[str, int], replica: psutil.Process, requests: int) -> list[int]:
    with Connection(address) as connection:
        while connection.call("GET", "/readyz", None, {}).status != 200:
            pass
    samples = []
    for _ in range(SAMPLES):
        each = requests // SAMPLES // CONNECTIONS
        threads = [threading.Thread(target=_ask, args=(address, each)) for _ in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        samples.append(int(replica.memory_info().rss))
    return samples[SETTLED - 1 :]


def _ask(address: tuple[str, int], requests: int) -> None:
    body = json.dumps(BODY).encode()
    with Connection(address) as connection:
        for _ in range(requests):
            if connection.call("POST", "/predict", body, {"content-type": "application/json"}).status != 200:
                raise Broken("a prediction was refused")
