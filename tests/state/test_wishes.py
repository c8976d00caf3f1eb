"""Models, services and predictions as their owners handle them: the same on SQLite and PostgreSQL."""

import pytest

from core.errors import IllegalMove, InUse, NameTaken, NotFound, StoreUnavailable
from state.advance import advance
from state.blobs import touch_blob
from state.cataloguing import (
    Description,
    NewVersion,
    VersionNotReady,
    add_version,
    create_model,
    delete_model,
    delete_version,
    hold_model,
    hold_version,
    remove_alias,
    set_alias,
)
from state.claims import end
from state.database import Database, WriteSession
from state.deploying import (
    NoEarlierRevision,
    SameRevision,
    act,
    change_service,
    create_service,
    hold_service,
    roll_back,
)
from state.predicting import PredictionIdTaken, Submission, cancel_prediction, list_predictions, submit_prediction
from state.queries.history import list_changes
from state.queries.lists import Condition, View
from state.queries.models import list_models, summaries
from state.queries.services import describe, find_revision, list_revisions, list_services, wanted_revision
from state.queries.versions import find_version, list_versions
from state.revisions import run_the_same, variables_of
from state.sweeping import bury, condemn, doom
from state.tables import Blob, Model
from state.wishes import Wish
from tests.state.rows import ME, TEST, VAULT

DIGEST = f"sha256:{'ab' * 32}"
NEW = NewVersion(digest=DIGEST, size_bytes=3, format="onnx")


async def ready_model(session: WriteSession, versions: int = 2) -> Model:
    """The model `iris` with ready versions."""
    model = await create_model(session, ME, "iris", Description())
    for _ in range(versions):
        version, operation = await add_version(session, ME, model, NEW)
        await advance(session, version, "inspect", TEST)
        await advance(session, version, "accept", TEST, signature={"inputs": []})
        await end(session, operation, "succeed", TEST, result={})
    return model


async def test_versions_are_numbered_found_and_summarised(database: Database) -> None:
    async with database.write() as session:
        model = await ready_model(session)
        await add_version(session, ME, model, NEW)
        first = await hold_version(session, model, "1")
        await set_alias(session, ME, model, "champion", first)
    async with database.read() as session:
        for given, number in (("3", 3), ("latest", 2), ("@champion", 1), (DIGEST, 3)):
            assert (await find_version(session, model, given)).number == number
        with pytest.raises(NotFound):
            await find_version(session, model, "9" * 15)
        found = await list_models(session, ME.tenant_id, View(count=True))
        summary = (await summaries(session, found.rows))[model.id]
        assert (found.total, summary.count, summary.latest, summary.newest) == (1, 3, 2, 3)
        assert dict(summary.aliases) == {"champion": 1}
        newest = View((Condition("number", "ge", (2,)),), order_by="number")
        assert [row.number for row in (await list_versions(session, model, newest)).rows] == [3, 2]
    async with database.write() as session:
        await remove_alias(session, ME, await hold_model(session, ME, "iris"), "champion")
        with pytest.raises(NameTaken):
            await create_model(session, ME, "iris", Description())


async def test_a_service_goes_from_its_deployment_through_changes_to_its_end(database: Database) -> None:
    async with database.write() as session:
        await ready_model(session)
        wish = Wish(model="iris", version="1", replicas=2, resources={"cpu": 0.5, "memory_mb": None}, env={"A": "1"})
        service, first = await create_service(session, ME, VAULT, "iris", wish, Description(tags=["a"]))
        with pytest.raises(NameTaken):
            await create_service(session, ME, VAULT, "iris", wish, Description())
    async with database.write() as session:
        service = await hold_service(session, ME, "iris")
        second = await change_service(session, ME, VAULT, service, Wish(version="2", env={"A": None, "B": "2"}))
    assert (first.kind, second.kind, second.generation) == ("service.deploy", "service.deploy", 2)
    async with database.read() as session:
        found = await list_services(session, ME.tenant_id, View(count=True), ["iris"])
        facts = (await describe(session, found.rows))[0]
        assert facts.wanted is not None
        assert (facts.wanted.number, facts.wanted.version, facts.wanted.env_names) == (2, 2, ("B",))
        assert (facts.live, facts.ready_replicas, facts.operation_id) == (None, 0, second.id)
        assert (await list_services(session, ME.tenant_id, View(), ["wine"])).rows == []
        revisions = await list_revisions(session, service, View(size=1, count=True))
        assert (revisions.total, revisions.rows[0].number, revisions.next is not None) == (2, 2, True)
        changes = await list_changes(session, service.id, View(size=1, count=True))
        assert (changes.total, [change.to_status for change in changes.rows]) == (1, ["pending"])
    async with database.write() as session:
        service = await hold_service(session, ME, "iris")
        with pytest.raises(IllegalMove) as caught:
            await act(session, ME, service, "resume")
        assert caught.value.extensions["operation"] == f"/api/v1/operations/{second.id}"
        paused = await act(session, ME, service, "pause")
        deleted = await act(session, ME, service, "delete")
        await session.refresh(paused)
        assert (service.status, paused.status, paused.superseded_by) == ("deleting", "canceled", deleted.id)


async def test_a_service_goes_back_to_what_it_ran_before(database: Database) -> None:
    async with database.write() as session:
        await ready_model(session)
        wish = Wish(model="iris", version="1", env={"A": "1"})
        await create_service(session, ME, VAULT, "iris", wish, Description())
    async with database.write() as session:
        service = await hold_service(session, ME, "iris")
        with pytest.raises(NoEarlierRevision):
            await roll_back(session, ME, VAULT, service)
        await change_service(session, ME, VAULT, service, Wish(version="2", env={"A": "2"}))
        with pytest.raises(SameRevision):
            await roll_back(session, ME, VAULT, service, 2)
        with pytest.raises(NotFound):
            await roll_back(session, ME, VAULT, service, 7)
    async with database.write() as session:
        service = await hold_service(session, ME, "iris")
        back = await roll_back(session, ME, VAULT, service)
        wanted, original = await wanted_revision(session, service), await find_revision(session, service, 1)
        assert (back.kind, wanted.number, wanted.version_id) == ("service.deploy", 3, original.version_id)
        assert variables_of(VAULT, wanted) == {"A": "1"}
        assert run_the_same(VAULT, wanted, original)


async def test_what_is_used_or_not_ready_is_refused(database: Database) -> None:
    async with database.write() as session:
        model = await ready_model(session)
        wish = Wish(model="iris", version="1")
        await create_service(session, ME, VAULT, "one", wish, Description())
        with pytest.raises(InUse, match="'one'"):
            await delete_version(session, ME, model, await hold_version(session, model, "1"))
        with pytest.raises(InUse, match="'one'"):
            await delete_model(session, ME, model)
        await add_version(session, ME, model, NEW)
        with pytest.raises(VersionNotReady, match="wait tells when"):
            await create_service(session, ME, VAULT, "two", Wish(model="iris", version="3"), Description())
        await delete_version(session, ME, model, await hold_version(session, model, "3"))
        with pytest.raises(NotFound):
            await hold_version(session, model, "3")


async def test_a_deleted_model_takes_its_versions_along(database: Database) -> None:
    async with database.write() as session:
        model = await ready_model(session)
        await add_version(session, ME, model, NEW)
        await delete_model(session, ME, await hold_model(session, ME, "iris"))
        assert (await list_versions(session, model, View())).rows == []
        again = await create_model(session, ME, "iris", Description())
        assert again.id != model.id


async def test_predictions_are_submitted_joined_and_canceled(database: Database) -> None:
    async with database.write() as session:
        await ready_model(session)
        service, _ = await create_service(session, ME, VAULT, "iris", Wish(model="iris"), Description())
        other, _ = await create_service(session, ME, VAULT, "other", Wish(model="iris"), Description())
        wanted = Submission({"inputs": {"x": 1}}, None, "http://localhost", id="prd_mine")
        row = await submit_prediction(session, ME, service, wanted)
        assert (row.version, row.model_name, row.status) == ("2", "iris", "starting")
        assert (await submit_prediction(session, ME, service, wanted)).id == row.id
        with pytest.raises(PredictionIdTaken):
            await submit_prediction(session, ME, other, wanted)
    async with database.write() as session:
        canceled = await cancel_prediction(session, ME, "prd_mine")
        assert (canceled.status, (await cancel_prediction(session, ME, "prd_mine")).status) == ("canceled", "canceled")
        by_service = View((Condition("service_name", "eq", ("iris",)),), count=True)
        assert (await list_predictions(session, ME.tenant_id, by_service)).total == 1


async def test_a_touched_blob_is_no_longer_doomed(database: Database) -> None:
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)
        assert await doom(session, 2**62) == 1
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)
        row = await session.get_one(Blob, DIGEST, populate_existing=True)
        assert row.doomed_at is None


async def test_a_blob_whose_bytes_are_being_deleted_cannot_be_taken_back(database: Database) -> None:
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)
        assert await doom(session, 2**62) == 1
        condemned = await condemn(session, 2**62)
    with pytest.raises(StoreUnavailable, match="being deleted"):
        async with database.write() as session:
            await touch_blob(session, DIGEST, 3)
    assert condemned is not None
    async with database.write() as session:
        assert await bury(session, condemned)
        await touch_blob(session, DIGEST, 3)
