"""Jobs and runs as users hold them, for asyncio: the same as `jobs.py`, with `await`."""

from collections.abc import AsyncIterator
from dataclasses import replace

from portside.async_resources import AsyncOperation
from portside.deploying import WAIT_S
from portside.facts import JobFacts, RunFacts
from portside.messages import Document, Json
from portside.requests import changing, path_to
from portside.running import begin_run, read_log, wait_for_run
from portside.waiting import Pages, Patience, operation_of

TAIL_BYTES = 1024 * 1024


class AsyncRun(RunFacts):
    """One execution of a job. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def reload(self) -> "AsyncRun":
        """As it is now."""
        return AsyncRun.read(self._session, await self._session.get(self._path))

    async def wait(self, timeout_s: float = WAIT_S) -> "AsyncRun":
        """Once it has succeeded. Raises `RunFailed`, `RunStopped` and `WaitTimeout`, too: a pause ends no run."""
        return AsyncRun.read(self._session, await wait_for_run(self._session, self.raw, Patience(timeout_s)))

    async def pause(self) -> AsyncOperation:
        """End its process and keep what it has done."""
        return await self._ask(":pause")

    async def resume(self) -> AsyncOperation:
        """Let it go on; the operation goes on to the end of the run."""
        return await self._ask(":resume")

    async def stop(self) -> AsyncOperation:
        """End it for good."""
        return await self._ask(":stop")

    async def delete(self) -> None:
        """Forget one that has ended; what it made stays."""
        await self._session.send(changing("DELETE", self._path))

    async def logs(self, tail_bytes: int = TAIL_BYTES) -> str:
        """The end of what it wrote."""
        return await read_log(self._session, self.job, self.id, tail_bytes)

    async def result(self) -> Document:
        """What came of it: `output` and `bad_rows` are datasets, with their `urls`, or None."""
        return await self._session.get(f"{self._path}/result")

    async def metrics(self) -> Document:
        """Rows, rows a second, seconds by stage, processor time, memory."""
        return await self._session.get(f"{self._path}/metrics")

    async def _ask(self, verb: str) -> AsyncOperation:
        answer = await self._session.send(changing("POST", self._path + verb))
        return AsyncOperation.read(self._session, await operation_of(self._session, answer))


class AsyncJob(JobFacts):
    """What is run over data. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    async def reload(self) -> "AsyncJob":
        """As it is now."""
        return AsyncJob.read(self._session, await self._session.get(path_to("jobs", self.name)))

    async def update(self, **wishes: Json) -> "AsyncJob":
        """Change what is run from now on: `version`, `mapping`, `env`, …; None gives the default back."""
        request = changing("PATCH", path_to("jobs", self.name), wishes)
        return AsyncJob.read(self._session, (await self._session.send(request)).document)

    async def run(self, **more: Json) -> AsyncRun:
        """Begin a run now, with what it has otherwise: `name`, `env`, `args`, `input`, `version`, …"""
        return AsyncRun.read(self._session, await begin_run(self._session, self.name, more))

    async def get_run(self, run: int | str = "latest") -> AsyncRun:
        """One of its runs, by its number or its id."""
        return AsyncRun.read(self._session, await self._session.get(path_to("jobs", self.name, "runs", str(run))))

    async def all_runs(self, **filters: str | int) -> AsyncIterator[AsyncRun]:
        """Its runs that match (`status="failed"`), the newest first."""
        pages = Pages(self._session, path_to("jobs", self.name, "runs"), filters)
        while (page := await pages.turn()) is not None:
            for each in page:
                yield AsyncRun.read(self._session, each)

    async def delete(self, *, cascade: bool = False) -> AsyncOperation:
        """Delete it with its runs; one under way is a `Conflict`, unless it is to be stopped: `cascade`."""
        request = changing("DELETE", path_to("jobs", self.name))
        answer = await self._session.send(replace(request, query={"cascade": "true"} if cascade else {}))
        return AsyncOperation.read(self._session, await operation_of(self._session, answer))
