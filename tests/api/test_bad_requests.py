"""Sixty bad requests and more for each resource: every one is a 4xx problem that names the field and the fix."""

import re
from collections.abc import AsyncIterator, Mapping

import pytest
from httpx2 import AsyncClient, Response
from sqlalchemy import select

from api.dependencies import Context
from core.settings import Settings
from state.tables import Base
from tests.api.bad_requests import PER_RESOURCE, BadRequest, draw
from tests.api.catalogue import left_behind
from tests.api.described import RESOURCES
from tests.api.world import Made, open_copy

# What a sentence has that tells what would be right, where there is no hint of its own.
TELLS_A_FIX = re.compile(
    r"should|must|required|at least|at most|between|takes|(?:has|is) 1 to|such as|at line|write|send|give|curl"
    r"|; (?!see )"
)


@pytest.fixture
async def context(settings: Settings, made: Made) -> AsyncIterator[Context]:
    async with open_copy(settings, made) as opened:
        yield opened


@pytest.mark.parametrize("resource", RESOURCES)
async def test_every_bad_request_names_what_is_wrong_and_how_to_right_it(
    client: AsyncClient, context: Context, made: Made, resource: str
) -> None:
    drawn = draw(resource, made.names)
    assert len(drawn) >= PER_RESOURCE
    before, stored = await everything(context), await left_behind(context)
    faults = []
    for bad in drawn:
        answer = await client.request(bad.method, bad.path, headers=dict(bad.headers), content=bad.body)
        if fault := fault_of(bad, answer):
            faults.append(f"{bad.fault}: {bad.method} {bad.path[:120]} {bad.body[:80]!r}: {fault}: {answer.text[:400]}")
    assert not faults, "\n" + "\n".join(faults)
    assert await everything(context) == before
    assert await left_behind(context) == stored


def fault_of(bad: BadRequest, answer: Response) -> str:
    """What the answer lacks; empty where it is as it must be."""
    if answer.status_code not in bad.statuses:
        return f"{answer.status_code}, not {bad.statuses}"
    if answer.headers["content-type"] != "application/problem+json":
        return "no problem document"
    told = answer.json()
    if told["status"] != answer.status_code or not re.fullmatch(r"[a-z_]+", told["code"]) or not told["detail"]:
        return "no status, code or detail"
    errors = told.get("errors", [])
    pointers = [error["pointer"] for error in errors]
    if bad.pointer is not None and not any(_is_at(pointer, bad.pointer) for pointer in pointers):
        return f"{bad.pointer} is not named"
    unhelpful = [error for error in errors if not error.get("hint") and not TELLS_A_FIX.search(error["detail"])]
    if unhelpful or not (errors or TELLS_A_FIX.search(told["detail"])):
        return "no fix is told"
    return ""


def _is_at(pointer: str, wanted: str) -> bool:
    return pointer == wanted or pointer.startswith(f"{wanted}/")


async def everything(context: Context) -> Mapping[str, list[str]]:
    """Every row of every table."""
    async with context.database.read() as session:
        return {
            table.name: sorted(map(repr, (await session.execute(select(table))).all()))
            for table in Base.metadata.sorted_tables
        }
