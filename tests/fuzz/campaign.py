"""One campaign: schemathesis against a platform of its own, which has an example, and is ended whatever happens."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.e2e.platform import RunningPlatform
from tests.fuzz import example
from tests.fuzz.summary import OUTPUT, REPORTS, Summary

HERE = Path(__file__).resolve().parent
SWITCHES = ("switch_off", "switch_on", "get_switch", "list_switches")


@dataclass(frozen=True)
class Part:
    """A run of schemathesis over some operations in some phases, and its share of the time."""

    name: str
    options: Sequence[str]
    share: float = 1.0
    keeps_example: bool = True


# Sequences along links get a time of their own: the cases of single calls would leave them little. To switch something
# off is fuzzed at the end, by itself: under `read_only` everything else is answered 503, as it must be.
REST = f"--exclude-operation-id={SWITCHES[0]}"
WHOLE = (
    Part("calls", ["--phases=examples,coverage,fuzzing", REST], 0.5),
    Part("links", ["--phases=stateful", REST], 0.4),
    Part("switches", [f"--include-operation-id={name}" for name in SWITCHES], 0.1, keeps_example=False),
)
LATE_S = 90.0  # it reads the description, ends the case at hand, and writes its reports
KEPT_S = 1.0
FOUND = (0, 1)  # how it ends: with nothing found, or with something


class Unfinished(Exception):
    """schemathesis has ended otherwise than by finding something or nothing; its own words are in the message."""


@dataclass(frozen=True)
class Fuzzer:
    """The schemathesis that a Python has, and how it draws: by a seed, or without one derandomized; how many cases."""

    python: Path
    seed: int | None = None
    most_examples: int | None = None

    def command(self, url: str, seconds: int, folder: Path, selection: Sequence[str]) -> list[str]:
        """All phases, all checks but what the configuration says, within so many seconds."""
        ndjson, json = (str(folder / name) for name in REPORTS)
        how = ["--generation-deterministic"] if self.seed is None else ["--seed", str(self.seed)]
        # Within a time it begins again until that is over; so many examples it tries once.
        how += (
            ["--max-time", str(seconds)] if self.most_examples is None else ["--max-examples", str(self.most_examples)]
        )
        program, config = str(self.python.with_name("schemathesis")), str(HERE / "schemathesis.toml")
        return [
            *(program, "--no-color", "--config-file", config),
            *("run", f"{url}/api/v1/openapi.json", *how, *selection),
            *("--report", "ndjson,json", "--report-ndjson-path", ndjson, "--report-json-path", json),
        ]

    def run(
        self, url: str, seconds: int, folder: Path, selection: Sequence[str], meanwhile: Callable[[], None]
    ) -> None:
        """Fuzz for so long; `meanwhile` is called about each second. Raises `Unfinished`."""
        folder.mkdir(parents=True)
        said = folder / OUTPUT
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "hooks.py")}
        command = self.command(url, seconds, folder, selection)
        with said.open("wb") as out, _running(command, out.fileno(), environment, folder) as process:
            deadline = time.monotonic() + seconds + LATE_S
            while process.poll() is None and time.monotonic() < deadline:
                meanwhile()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(KEPT_S)
        if process.returncode not in FOUND:
            raise Unfinished(f"schemathesis ended with {process.returncode}:\n{said.read_text('utf-8')[-4000:]}")


def run(fuzzer: Fuzzer, seconds: int, folder: Path, parts: Sequence[Part] = WHOLE) -> Summary:
    """Fuzz a new platform in `folder` for so many seconds. Raises `Unfinished`."""
    summary = Summary()
    platform = RunningPlatform.start(folder / "data")
    try:
        with platform.client() as client:
            for part in parts:
                example.keep(client)
                for_s = max(1, round(seconds * part.share))
                meanwhile = partial(example.keep, client) if part.keeps_example else lambda: None
                fuzzer.run(platform.url, for_s, folder / part.name, part.options, meanwhile)
                summary.read(folder / part.name)
        summary.read_log(folder / "data" / "logs" / "portside.log")
        assert platform.process.poll() is None, "the platform has died"
    finally:
        _end(platform)
    return summary


def _end(platform: RunningPlatform) -> None:
    """However it is."""
    try:
        platform.end()
    finally:
        platform.process.kill()


@contextmanager
def _running(
    command: Sequence[str], out: int, environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The process, which is no more afterwards."""
    process = subprocess.Popen(command, env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
