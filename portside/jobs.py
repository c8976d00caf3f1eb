"""Jobs and runs as users hold them, for threads. `async_jobs.py` says the same with `await`."""

from collections.abc import Iterator
from dataclasses import replace

from portside.deploying import WAIT_S
from portside.facts import JobFacts, RunFacts
from portside.messages import Document, Json
from portside.requests import changing, path_to
from portside.resources import Operation
from portside.running import begin_run, read_log, wait_for_run
from portside.session import finish
from portside.waiting import Pages, Patience, operation_of

TAIL_BYTES = 1024 * 1024


class Run(RunFacts):
    """One execution of a job. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Run":
        """As it is now."""
        return Run.read(self._session, finish(self._session.get(self._path)))

    def wait(self, timeout_s: float = WAIT_S) -> "Run":
        """Once it has succeeded. Raises `RunFailed`, `RunStopped` and `WaitTimeout`, too: a pause ends no run."""
        return Run.read(self._session, finish(wait_for_run(self._session, self.raw, Patience(timeout_s))))

    def pause(self) -> Operation:
        """End its process and keep what it has done."""
        return self._ask(":pause")

    def resume(self) -> Operation:
        """Let it go on; the operation goes on to the end of the run."""
        return self._ask(":resume")

    def stop(self) -> Operation:
        """End it for good."""
        return self._ask(":stop")

    def delete(self) -> None:
        """Forget one that has ended; what it made stays."""
        finish(self._session.send(changing("DELETE", self._path)))

    def logs(self, tail_bytes: int = TAIL_BYTES) -> str:
        """The end of what it wrote."""
        return finish(read_log(self._session, self.job, self.id, tail_bytes))

    def result(self) -> Document:
        """What came of it: `output` and `bad_rows` are datasets, with their `urls`, or None."""
        return finish(self._session.get(f"{self._path}/result"))

    def metrics(self) -> Document:
        """Rows, rows a second, seconds by stage, processor time, memory."""
        return finish(self._session.get(f"{self._path}/metrics"))

    def _ask(self, verb: str) -> Operation:
        answer = finish(self._session.send(changing("POST", self._path + verb)))
        return Operation.read(self._session, finish(operation_of(self._session, answer)))


class Job(JobFacts):
    """What is run over data. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Job":
        """As it is now."""
        return Job.read(self._session, finish(self._session.get(path_to("jobs", self.name))))

    def update(self, **wishes: Json) -> "Job":
        """Change what is run from now on: `version`, `mapping`, `env`, …; None gives the default back."""
        request = changing("PATCH", path_to("jobs", self.name), wishes)
        return Job.read(self._session, finish(self._session.send(request)).document)

    def run(self, **more: Json) -> Run:
        """Begin a run now, with what it has otherwise: `name`, `env`, `args`, `input`, `version`, …"""
        return Run.read(self._session, finish(begin_run(self._session, self.name, more)))

    def get_run(self, run: int | str = "latest") -> Run:
        """One of its runs, by its number or its id."""
        return Run.read(self._session, finish(self._session.get(path_to("jobs", self.name, "runs", str(run)))))

    def all_runs(self, **filters: str | int) -> Iterator[Run]:
        """Its runs that match (`status="failed"`), the newest first."""
        pages = Pages(self._session, path_to("jobs", self.name, "runs"), filters)
        while (page := finish(pages.turn())) is not None:
            for each in page:
                yield Run.read(self._session, each)

    def delete(self, *, cascade: bool = False) -> Operation:
        """Delete it with its runs; one under way is a `Conflict`, unless it is to be stopped: `cascade`."""
        request = changing("DELETE", path_to("jobs", self.name))
        answer = finish(self._session.send(replace(request, query={"cascade": "true"} if cascade else {})))
        return Operation.read(self._session, finish(operation_of(self._session, answer)))
