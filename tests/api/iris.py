"""A service `iris` in every status, as the tests of services want it."""

from httpx2 import AsyncClient, Response

from api.dependencies import Context
from api.schemas.services import ServiceShown
from core.errors import Json
from state.database import WriteSession
from state.endings import Locked, fail
from state.history import By
from tests.api.catalogue import is_running
from tests.api.platform import work_on

SERVICES = "/api/v1/services"
IRIS = f"{SERVICES}/iris"
PROBLEM: dict[str, Json] = {"type": "x", "title": "x", "status": 422, "detail": "it crashed", "code": "deploy_failed"}

ALL = ("pending", "deploying", "running", "updating", "pausing", "paused", "resuming", "failed", "deleting")
# What each wish leads to from each status: the status after it and the kind of operation; None is 409.
MATRIX: dict[str, dict[str, tuple[str, str] | None]] = {
    "version": {
        "pending": ("pending", "service.deploy"),
        "deploying": ("pending", "service.deploy"),
        "failed": ("pending", "service.deploy"),
        "running": ("updating", "service.update"),
        "updating": ("updating", "service.update"),
        "pausing": ("pausing", ""),
        "paused": ("paused", ""),
        "resuming": ("resuming", "service.resume"),
        "deleting": None,
    },
    "pause": {
        **dict.fromkeys(("pending", "deploying", "running", "updating", "resuming"), ("pausing", "service.pause")),
        **dict.fromkeys(("pausing", "paused", "failed", "deleting")),
    },
    "resume": {**dict.fromkeys(ALL), "paused": ("resuming", "service.resume")},
    "restart": {
        **dict.fromkeys(ALL),
        "running": ("updating", "service.restart"),
        "failed": ("pending", "service.deploy"),
    },
    "delete": {**dict.fromkeys(ALL, ("deleting", "service.delete")), "deleting": None},
}


async def has_failed(session: WriteSession, work: Locked) -> None:
    await fail(session, work, By("worker"), PROBLEM)


async def nothing_yet(session: WriteSession, work: Locked) -> None:
    """The worker took it and has not done it."""


async def deploy(client: AsyncClient, **body: object) -> Response:
    return await client.post(SERVICES, json={"name": "iris", "model": "iris", **body})


async def shown(client: AsyncClient) -> ServiceShown:
    return ServiceShown.model_validate((await client.get(IRIS)).json())


async def bring_to(client: AsyncClient, context: Context, status: str) -> None:
    """A service `iris` of version 1 in this status."""
    answer = await deploy(client, version=1)
    assert answer.status_code == 202, answer.text
    if status == "pending":
        return
    if status in ("deploying", "failed"):
        await work_on(context, has_failed if status == "failed" else nothing_yet)
        return
    await work_on(context, is_running)
    if status == "updating":
        await client.patch(IRIS, json={"replicas": 2})
    if status in ("pausing", "paused", "resuming"):
        await client.post(f"{IRIS}:pause")
    if status in ("paused", "resuming"):
        await work_on(context, is_running)
    if status == "resuming":
        await client.post(f"{IRIS}:resume")
    if status == "deleting":
        await client.delete(IRIS)
