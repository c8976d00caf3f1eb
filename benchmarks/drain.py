"""Ten thousand no-op operations worked off by one worker process, and as many jobs of procrastinate by one of its.

Both on the same PostgreSQL, in turns, at equal concurrency. Ours also keep a history of each change of status, write an
event of each success and look for the webhooks that want it; each is recorded under the lock of what it is about.
procrastinate lives in an environment of its own in the cache folder, made at the first run.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from platformdirs import user_cache_path

from benchmarks.figures import Figure, in_words, median
from benchmarks.platform import ROOT, Broken, fresh_folder
from deploy.stack.child import StackFailed
from deploy.stack.postgres import PostgresServer

COUNT = 10_000
CONCURRENCY = 16
ROUNDS = 3
SHARE = 0.5
LATE_S = 400.0
RIVAL = ("procrastinate==3.10.0", "psycopg[binary]==3.3.9", "uvloop==0.23.0")


def measure() -> list[Figure]:
    """Rates in jobs per second; the bar is on the medians of runs in turns."""
    try:
        with fresh_folder() as folder, ExitStack() as ending:
            rival = _environment()
            postgres = PostgresServer.start(folder / "postgres")
            ending.callback(postgres.stop)
            ours, theirs = [], []
            for number in range(ROUNDS):
                ours.append(_rate(sys.executable, "drain_ours", postgres.create_database(f"ours_{number}")))
                theirs.append(_rate(str(rival), "drain_theirs", postgres.create_database(f"theirs_{number}")))
    except StackFailed as error:
        raise Broken(str(error)) from error
    ratio = median(ours) / median(theirs)
    return [
        Figure(f"{COUNT} no-op operations, {CONCURRENCY} at a time, PostgreSQL", "", in_words(ours, "/s", 0)),
        Figure("  procrastinate", "", in_words(theirs, "/s", 0)),
        Figure("  ours to theirs", f"≥ {SHARE:g}", f"{ratio:.2f}", ratio >= SHARE),
    ]


def _rate(python: str, module: str, url: str) -> float:
    """What the worker of that name says: jobs per second of its run."""
    command = [python, "-m", f"benchmarks.{module}", url, str(COUNT), str(CONCURRENCY)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LATE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Broken(f"{module} did not end within {LATE_S:g} s") from None
    if done.returncode:
        raise Broken(f"{module} failed: {done.stderr.strip()[-400:]}")
    return float(done.stdout.split()[-1])


def _environment() -> Path:
    """The interpreter that has procrastinate."""
    folder = user_cache_path("portside", appauthor=False) / "rivals" / "-".join(RIVAL).replace("==", "-")
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"Making an environment for {RIVAL[0]} in {folder} (once)", flush=True)
        uv = str(Path(sys.executable).with_name("uv"))
        _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *RIVAL)
        (folder / "ready").touch()
    return python


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-300:]}")
