"""Rows from which a run can begin: a model with a version, a dataset, a job; on any database and store."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from core.clock import now_micros
from core.ids import new_id
from core.secrets import Vault
from state.advance import advance, lock
from state.blobs import touch_blob
from state.database import Database
from state.datatables import Dataset, DatasetPart
from state.environments import sealed_environment
from state.history import By, begin
from state.jobtables import Job, Run
from state.migrate import DEFAULT_TENANT
from state.operations import Who
from state.running import AS_THE_JOB_SAYS, Verb, act_on_run, begin_run
from state.tables import Model, Operation, Version
from storage.base import ArtifactStore
from storage.digests import Digest

WHO = Who(DEFAULT_TENANT, "user:test", "admin")
TEST = By("test")
MOST_S = 30.0
FIELDS = {"tenant_id": DEFAULT_TENANT, "tags": []}


def numbers(rows: int, bad: tuple[int, ...] = ()) -> bytes:
    """A CSV of rows `id,x`; those in `bad` have no number."""
    lines = [f"row-{row},{'none' if row in bad else row}" for row in range(rows)]
    return ("id,x\n" + "\n".join(lines) + "\n").encode()


LAYOUT: Mapping[str, Any] = {
    "format": "csv",
    "columns": [{"name": "id", "type": "string"}, {"name": "x", "type": "float64"}],
}
SIGNATURE: Mapping[str, Any] = {
    "format": "onnx",
    "task": "regression",
    "inputs": [{"name": "x", "dtype": "FP64", "shape": [-1]}],
    "outputs": [{"name": "score", "dtype": "FP64", "shape": [-1]}],
}


@dataclass(frozen=True)
class Ground:
    """A database and a store on which runs can begin."""

    database: Database
    store: ArtifactStore
    vault: Vault

    async def put(self, content: bytes) -> str:
        """A blob with its row."""

        async def pieces() -> AsyncIterator[bytes]:
            yield content

        stored = await self.store.put(pieces())
        async with self.database.write() as session:
            await touch_blob(session, str(stored.digest), stored.size_bytes)
        return str(stored.digest)

    async def bytes_of(self, digest: str) -> bytes:
        """What a blob holds."""
        return b"".join([piece async for piece in self.store.open(Digest.parse(digest))])

    async def version(
        self, content: bytes = b"a model", signature: Mapping[str, Any] = SIGNATURE, model: str = "twice"
    ) -> Version:
        """A ready version of a new model."""
        digest, now = await self.put(content), now_micros()
        common = {**FIELDS, "created_at": now, "updated_at": now}
        row = Model(id=new_id("mdl"), name=model, last_number=1, **common)
        told = {"number": 1, "digest": digest, "size_bytes": len(content), "format": "onnx"}
        version = Version(id=new_id("ver"), model_id=row.id, **told, **common)
        async with self.database.write() as session:
            await begin(session, row, TEST)
            await begin(session, version, TEST)
            await advance(session, version, "inspect", TEST)
            await advance(session, version, "accept", TEST, signature=dict(signature))
        return version

    async def dataset(
        self, *contents: bytes, name: str = "numbers", layout: Mapping[str, Any] = LAYOUT, rows: int | None = None
    ) -> Dataset:
        """A ready dataset."""
        digests, now = [await self.put(content) for content in contents], now_micros()
        row = Dataset(
            id=new_id("dts"),
            name=name,
            kind="table",
            hints={},
            format=layout["format"],
            layout=dict(layout),
            columns=list(layout["columns"]),
            rows=rows,
            size_bytes=sum(map(len, contents)),
            digest=digests[0] if len(digests) == 1 else None,
            created_at=now,
            updated_at=now,
            **FIELDS,
        )
        async with self.database.write() as session:
            await begin(session, row, TEST)
            for ordinal, (digest, content) in enumerate(zip(digests, contents, strict=True)):
                session.add(DatasetPart(dataset_id=row.id, ordinal=ordinal, digest=digest, size_bytes=len(content)))
            await advance(session, row, "ready", TEST)
        return row

    async def job(self, name: str = "score", variables: Mapping[str, str] | None = None, **changes: Any) -> Job:
        """A job that scores `numbers` with `twice`."""
        now, id = now_micros(), new_id("job")
        spec = {
            "model": "twice",
            "version": "latest",
            "input": {"dataset": "numbers"},
            "output": {"name": "{job}-{run}", "format": None, "compression": None, "replace": False},
            "mapping": None,
            "pass_through": ["id"],
            "on_error": {"policy": "skip", "limit": None},
            "chunk_rows": None,
            "parallelism": 1,
            "resources": {},
            "retries": {"count": 0, "backoff_s": 0},
        }
        environment = sealed_environment(self.vault, id, variables or {})
        row = Job(
            id=id,
            name=name,
            kind="batch",
            spec={**spec, **changes},
            env_sealed=environment.sealed,
            env_names=list(environment.names),
            created_at=now,
            updated_at=now,
            **FIELDS,
        )
        async with self.database.write() as session:
            await begin(session, row, TEST)
        return row

    async def run(self, job: Job) -> Run:
        """A queued run of a job."""
        async with self.database.write() as session:
            held = await lock(session, Job, job.id)
            found, _ = await begin_run(session, WHO, held, "manual", AS_THE_JOB_SAYS)
        return found

    async def act(self, run: Run, verb: Verb) -> Operation:
        """Pause, resume or stop a run."""
        async with self.database.write() as session:
            return await act_on_run(session, WHO, await lock(session, Run, run.id), verb)

    async def now(self, run: Run) -> Run:
        """The row as it is now."""
        async with self.database.read() as session:
            found = await session.get(Run, run.id)
        assert found is not None
        return found

    async def output(self, run: Run, role: str = "output") -> bytes | None:
        """The bytes of all parts of a run's dataset, in order."""
        async with self.database.read() as session:
            query = select(DatasetPart.digest).join(Dataset, Dataset.id == DatasetPart.dataset_id)
            mine = (Dataset.run_id == run.id, Dataset.role == role, Dataset.status == "ready")
            digests = list(await session.scalars(query.where(*mine).order_by(DatasetPart.ordinal)))
        return b"".join([await self.bytes_of(digest) for digest in digests]) if digests else None
