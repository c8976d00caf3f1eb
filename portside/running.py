"""Jobs and their runs as requests: make one, begin a run, wait for its end. Written once, for both clients."""

from collections.abc import Mapping

from portside.errors import RunFailed, RunStopped
from portside.messages import Document, Json
from portside.requests import changing, path_to, reading
from portside.session import Session
from portside.waiting import Patience, held, operation_of

ENDED = ("succeeded", "failed", "stopped")


def input_of(given: str | Mapping[str, Json]) -> Json:
    """What a job reads: a dataset by its name, or a URI, or all that can be said of it."""
    if not isinstance(given, str):
        return dict(given)
    return {"uri": given} if "://" in given else {"dataset": given}


async def create_job(
    session: Session, name: str, model: str, data: str | Mapping[str, Json], more: Mapping[str, Json]
) -> Document:
    """The job. Raises what `Session.send` raises."""
    body = {"name": name, "model": model, "input": input_of(data), **more}
    return (await session.send(changing("POST", path_to("jobs"), body))).document


async def create_script_job(
    session: Session, name: str, script: str | Mapping[str, Json], more: Mapping[str, Json]
) -> Document:
    """The job that runs a script. Raises what `Session.send` raises."""
    said = {"source": script} if isinstance(script, str) else dict(script)
    body = {"name": name, "kind": "script", "script": said, **more}
    return (await session.send(changing("POST", path_to("jobs"), body))).document


async def begin_run(session: Session, job: str, more: Mapping[str, Json]) -> Document:
    """The run that was begun. Raises what `Session.send` raises."""
    said = {**more, "input": input_of(more["input"])} if isinstance(more.get("input"), str) else dict(more)
    answer = await session.send(changing("POST", path_to("jobs", f"{job}:run"), said))
    operation = await operation_of(session, answer)
    return await session.get(path_to("jobs", job, "runs", str(operation["target"]["id"])))


async def wait_for_run(session: Session, run: Document, patience: Patience) -> Document:
    """The run once it has succeeded, also across a restart of the platform.

    Raises `RunFailed`, `RunStopped`, `WaitTimeout` and what `Session.send` raises.
    """
    while run["status"] not in ENDED:
        path = path_to("jobs", run["job"], "runs", f"{run['id']}:wait")
        run = await held(session, path, f"run {run['number']} of job {run['job']} ({run['status']})", patience)
    if run["status"] == "succeeded":
        return run
    raise (RunStopped if run["status"] == "stopped" else RunFailed)(run)


async def read_log(session: Session, job: str, run: str, tail_bytes: int) -> str:
    """The end of what a run wrote. Raises what `Session.send` raises."""
    request = reading(path_to("jobs", job, "runs", run, "logs"), {"tail_bytes": tail_bytes}, wants_document=False)
    return (await session.send(request)).body.decode("utf-8", "replace")
