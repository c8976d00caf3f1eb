"""How work ends: its own move and its target's, in one transaction."""

import pytest

from core.errors import InvalidArtifact
from state.advance import advance, lock
from state.claims import ClaimLost, end, held, standing
from state.database import Database
from state.endings import cancel, fail, lock_held, lock_operation, succeed
from state.tables import Operation, Prediction, Version
from tests.state.rows import TEST, make_prediction, submit_inspection, take

PROBLEM = InvalidArtifact("the file is not a model").as_problem()


async def test_success_moves_the_target_with_its_values(database: Database) -> None:
    operation = await submit_inspection(database)
    claim, row = await take(database)
    async with database.write() as session:
        work = await lock_held(session, claim, row)
        await succeed(session, work, TEST, result={"n": 1}, row={}, target={"task": "clustering"})
    async with database.write() as session:
        ended = await lock(session, Operation, operation.id)
        version = await lock(session, Version, operation.target_id)
    assert (ended.status, ended.result, ended.lease_until) == ("succeeded", {"n": 1}, None)
    assert (version.status, version.task, version.reason) == ("ready", "clustering", None)


async def test_failure_gives_the_target_the_problems_code_and_detail(database: Database) -> None:
    operation = await submit_inspection(database)
    claim, row = await take(database)
    async with database.write() as session:
        await fail(session, await lock_held(session, claim, row), TEST, PROBLEM)
    async with database.write() as session:
        version = await lock(session, Version, operation.target_id)
    assert (version.status, version.reason) == ("invalid", "invalid_artifact")
    assert version.message == "the file is not a model"


async def test_queued_work_can_be_canceled_by_whoever_locks_it(database: Database) -> None:
    operation = await submit_inspection(database)
    async with database.write() as session:
        await cancel(session, await lock_operation(session, operation), TEST, "no longer wanted")
    async with database.write() as session:
        ended = await lock(session, Operation, operation.id)
        assert (ended.status, ended.error["code"] if ended.error else "") == ("canceled", "canceled")
        assert (await lock(session, Version, operation.target_id)).status == "invalid"


async def test_work_ends_although_its_target_went_elsewhere(database: Database) -> None:
    operation = await submit_inspection(database)
    claim, row = await take(database)
    async with database.write() as session:
        version = await lock(session, Version, operation.target_id)
        await advance(session, version, "delete", TEST)
    async with database.write() as session:
        await succeed(session, await lock_held(session, claim, row), TEST, result={}, row={}, target={})
    async with database.write() as session:
        assert (await lock(session, Operation, operation.id)).status == "succeeded"
        assert (await lock(session, Version, operation.target_id)).status == "deleting"


async def test_a_predictions_problem_is_told_in_both_its_columns(database: Database) -> None:
    async with database.write() as session:
        prediction = await make_prediction(session)
    claim, row = await take(database, "predict")
    async with database.write() as session:
        await fail(session, await lock_held(session, claim, row), TEST, PROBLEM, row={"predict_time_s": 0.5})
    async with database.write() as session:
        ended = await lock(session, Prediction, prediction.id)
    assert (ended.status, ended.problem, ended.error) == ("failed", PROBLEM, "the file is not a model")
    assert ended.predict_time_s == 0.5


async def test_whoever_looks_at_an_ended_claim_is_told(database: Database) -> None:
    await submit_inspection(database)
    claim, row = await take(database)
    async with database.read() as reading:
        assert await standing(reading, claim) is False
    async with database.write() as session:
        await end(session, await held(session, claim), "succeed", TEST, result={})
    async with database.read() as reading:
        with pytest.raises(ClaimLost):
            await standing(reading, claim)
    with pytest.raises(ClaimLost):
        async with database.write() as session:
            await lock_held(session, claim, row)
