"""Runs of scripts on a platform without its API: jobs from a text, and what is left of their processes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.clock import now_micros
from core.ids import new_id
from core.settings import Settings
from state.artifacts import files_of_run
from state.environments import sealed_environment
from state.history import begin
from state.jobtables import Job, Run
from state.reports import reports_of
from tests.workers.node.runworld import RunWorld
from tests.workers.runrows import FIELDS, TEST
from workers.node.isolation import isolation_of, remove


class Scripts:
    """Begins runs of scripts, and looks at what they leave."""

    def __init__(self, runs: RunWorld) -> None:
        self.runs = runs

    async def job(
        self, text: str, name: str = "script", variables: Mapping[str, str] | None = None, **changes: Any
    ) -> Job:
        """A job that runs this text."""
        ground, now, id = self.runs.ground, now_micros(), new_id("job")
        digest = await ground.put(text.encode())
        script = {
            "kind": "source",
            "digest": digest,
            "size_bytes": len(text),
            "file": None,
            "name": "main.py",
            "entry": "main.py",
            "requirements": changes.pop("requirements", None),
            "python": None,
        }
        spec = {
            "script": script,
            "inputs": {"datasets": {}, "models": {}},
            "outputs": {},
            "args": [],
            "resources": {"cpu": None, "memory_mb": None},
            "retries": {"count": 0, "backoff_s": 0},
            "timeout_s": None,
            "run_name": None,
            **changes,
        }
        environment = sealed_environment(ground.vault, id, variables or {})
        row = Job(
            id=id,
            name=name,
            kind="script",
            script_digest=digest,
            spec=spec,
            env_sealed=environment.sealed,
            env_names=list(environment.names),
            created_at=now,
            updated_at=now,
            **FIELDS,
        )
        async with self.runs.database.write() as session:
            await begin(session, row, TEST)
        return row

    async def begin(self, text: str, **changes: Any) -> Run:
        """A run of this text."""
        return await self.runs.ground.run(await self.job(text, **changes))

    async def log(self, run: Run) -> str:
        """What it wrote."""
        pieces = self.runs.world.target.logs(run.id, follow=False, tail_bytes=1_000_000)
        return b"".join([piece async for piece in pieces]).decode()

    async def outputs(self, run: Run) -> dict[str, bytes]:
        """Its artifacts."""
        async with self.runs.database.read() as session:
            rows = await files_of_run(session, run.id, "output")
        return {row.path: await self.runs.ground.bytes_of(row.digest) for row in rows}

    async def reports(self, run: Run) -> list[tuple[int | None, Any]]:
        """The figures that it reported."""
        async with self.runs.database.read() as session:
            return [(row.step, row.values) for row in await reports_of(session, run.id)]


def remove_places(data: Path) -> None:
    """Remove what a platform over this data folder has kept for scripts elsewhere, where their users can reach it."""
    folder = isolation_of(Settings(data=data)).folder
    if folder.is_dir():
        remove(folder)


def processes_with(mark: str) -> list[int]:
    """The processes that have these words in their command line or environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in told:
            found.append(int(process.name))
    return found
