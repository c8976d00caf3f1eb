"""`python -m benchmarks.probe PORT SERVICE FILE SOCKET`: one client that predicts again and again until stdin ends.

Asks the gateway and, in turn, the replica itself, whose times tell what the machine adds. Prints both as JSON, in ms.
"""

import gc
import json
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.platform import ROOT, Platform, predict_path, sample_body
from benchmarks.wire import Connection, request

WARM_UP = 200
STOP_S = 60.0


@dataclass(frozen=True, slots=True)
class Latencies:
    """Milliseconds of each request, in the order in which they were sent."""

    gateway: Sequence[float]
    replica: Sequence[float]


def probe(port: int, service: str, file: Path, replica: str) -> Mapping[str, Sequence[float]]:
    """Predict until stdin ends."""
    body = sample_body(file)
    ask, ask_directly = request("POST", predict_path(service), body), request("POST", "/predict", body)
    through: list[float] = []
    direct: list[float] = []
    with Connection(("127.0.0.1", port)) as gateway, Connection(replica) as straight:
        for _ in range(WARM_UP):
            _timed(gateway, ask)
            _timed(straight, ask_directly)
        gc.freeze()
        gc.disable()
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            through.append(_timed(gateway, ask))
            direct.append(_timed(straight, ask_directly))
    return {"gateway": through, "replica": direct}


def _timed(connection: Connection, ask: bytes) -> float:
    began = time.perf_counter()
    answer = connection.exchange(ask)
    took_s = time.perf_counter() - began
    if answer.status != 200:
        sys.exit(f"a prediction was answered {answer.status}: {answer.body[:500].decode(errors='replace')}")
    return took_s * 1000


class Probe:
    """The probe as a process; measures from the end of its construction until `stop`."""

    def __init__(self, platform: Platform, service: str, file: Path) -> None:
        words = [str(platform.address[1]), service, str(file), platform.replica_socket(service)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.probe", *words],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def stop(self) -> Latencies:
        """End it and read what it saw."""
        try:
            said, _ = self._process.communicate(timeout=STOP_S)
        finally:
            with suppress(ProcessLookupError):
                self._process.kill()
        found = json.loads(said)
        return Latencies(found["gateway"], found["replica"])


if __name__ == "__main__":
    print(json.dumps(probe(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4])))
