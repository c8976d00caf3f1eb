"""Deleting a model with the services that use it: the same on both databases."""

import asyncio

import pytest
from sqlalchemy import select

from core.errors import InUse, NotFound
from state.advance import advance, lock
from state.cascading import (
    Deletion,
    OtherServices,
    TooManyServices,
    delete_with_services,
    plan_deletion,
)
from state.cataloguing import Description, create_model, hold_model, set_alias
from state.database import Database, WriteSession
from state.deploying import act, create_service
from state.processes import Presence, Self
from state.queries.models import find_model
from state.releases import UpgradeUnderWay
from state.tables import Alias, Model, Operation, Service, Version
from state.wishes import Wish
from tests.state.rows import ME, TEST, VAULT, somebody_waits_for_a_lock
from tests.state.test_following import add


async def models(session: WriteSession) -> None:
    """`iris` with two ready versions, the first of which is `@prod`, and `wine` with one."""
    for name, count in (("iris", 2), ("wine", 1)):
        model = await create_model(session, ME, name, Description())
        versions = [await add(session, model) for _ in range(count)]
        if name == "iris":
            await set_alias(session, ME, model, "prod", versions[0])


async def deploy(session: WriteSession, name: str, model: str = "iris", version: str = "1") -> Service:
    service, _ = await create_service(session, ME, VAULT, name, Wish(model=model, version=version), Description())
    return service


async def delete(session: WriteSession, confirmed: set[str] | None = None) -> Operation:
    return await delete_with_services(session, ME, await hold_model(session, ME, "iris"), confirmed)


async def statuses(database: Database, table: type[Service] | type[Version] | type[Model]) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(table.status).order_by(table.created_at, table.id)))


async def test_the_services_end_first_and_nothing_of_the_model_can_be_deployed_meanwhile(database: Database) -> None:
    async with database.write() as session:
        await models(session)
        for name in ("a", "b"):
            await deploy(session, name)
        await deploy(session, "other", "wine")
    async with database.write() as session:
        planned = await plan_deletion(session, await find_model(session, ME.tenant_id, "iris"), with_services=True)
        operation = await delete(session)
    assert planned == Deletion(["a", "b"], 2)
    assert await statuses(database, Service) == ["deleting", "deleting", "pending"]
    assert await statuses(database, Version) == ["deleting", "deleted", "ready"]
    assert await statuses(database, Model) == ["deleting", "active"]
    async with database.write() as session:
        queued = select(Operation.kind).where(Operation.status == "queued").order_by(Operation.kind)
        kinds = list(await session.scalars(queued))
        ends = ["model.delete", "service.delete", "service.delete", "service.deploy", "version.delete"]
        assert [kind for kind in kinds if kind != "version.inspect"] == ends
        assert list(await session.scalars(select(Alias.name))) == []
        named = operation.arguments["services"]
        deletes = select(Operation.target_name, Operation.id).where(Operation.kind == "service.delete")
        assert {(each["name"], each["operation"]) for each in named} == {
            tuple(row) for row in await session.execute(deletes)
        }
        for version in ("1", "latest", "@prod"):
            with pytest.raises(NotFound):
                await deploy(session, "late", version=version)
        with pytest.raises(NotFound, match="is being deleted"):
            await delete(session)


async def test_a_service_of_two_models_goes_with_either(database: Database) -> None:
    """What is rolled out now may be another model's than what serves meanwhile."""
    async with database.write() as session:
        await models(session)
        service, wine = await deploy(session, "a"), await deploy(session, "b", "wine")
        service.live_revision_id, service.revision_id = service.revision_id, wine.revision_id
    async with database.write() as session:
        await delete(session)
    assert await statuses(database, Service) == ["deleting", "pending"]


async def test_what_is_being_deleted_already_is_waited_for(database: Database) -> None:
    async with database.write() as session:
        await models(session)
        under_way = await act(session, ME, await deploy(session, "a"), "delete")
    async with database.write() as session:
        operation = await delete(session)
    assert operation.arguments["services"] == [{"name": "a", "operation": under_way.id}]
    assert await statuses(database, Version) == ["deleting", "deleted", "ready"]


async def test_a_model_that_nothing_uses_goes_at_once(database: Database) -> None:
    async with database.write() as session:
        await models(session)
        service = await deploy(session, "a")
        for move in ("delete", "deleted"):
            await advance(session, service, move, TEST)
    async with database.write() as session:
        assert (await delete(session)).status == "succeeded"
    assert await statuses(database, Model) == ["deleted", "active"]


async def test_without_the_services_nothing_goes(database: Database) -> None:
    async with database.write() as session:
        await models(session)
        await deploy(session, "a")
        model = await find_model(session, ME.tenant_id, "iris")
        with pytest.raises(InUse, match="cascade"):
            await plan_deletion(session, model, with_services=False)


async def delete_beside(database: Database, may_begin: asyncio.Event) -> None:
    """Delete it in a transaction of its own, beside another one that has begun."""
    await may_begin.wait()
    async with database.write() as session:
        await delete(session)


@pytest.mark.parametrize("version", ["1", "2"])
async def test_who_deploys_at_the_same_time_is_taken_along_or_makes_it_be_refused(
    database: Database, version: str
) -> None:
    async with database.write() as session:
        await models(session)
        await deploy(session, "a")
    begun = asyncio.Event()
    deleting = asyncio.create_task(delete_beside(database, begun))
    async with database.write() as session:
        await deploy(session, "late", version=version)
        begun.set()
        await somebody_waits_for_a_lock(database)
    refused = (await asyncio.gather(deleting, return_exceptions=True))[0]
    if refused is None:
        assert await statuses(database, Service) == ["deleting", "deleting"]
    else:
        assert isinstance(refused, InUse)
        assert "'late'" in refused.message
        assert await statuses(database, Service) == ["pending", "pending"]
        assert await statuses(database, Model) == ["active", "active"]


async def test_who_deploys_after_it_is_refused(database: Database) -> None:
    async with database.write() as session:
        await models(session)
        await deploy(session, "a")
    begun = asyncio.Event()

    async def deploy_too() -> None:
        await begun.wait()
        async with database.write() as session:
            await deploy(session, "late")

    deploying = asyncio.create_task(deploy_too())
    async with database.write() as session:
        await delete(session)
        begun.set()
        await somebody_waits_for_a_lock(database)
    with pytest.raises(NotFound):
        await deploying
    assert await statuses(database, Service) == ["deleting"]


async def test_a_deletion_and_a_change_of_a_service_do_not_block_each_other(database: Database) -> None:
    """Both hold the service first, and its versions after it."""
    async with database.write() as session:
        await models(session)
        service = await deploy(session, "a")
    begun = asyncio.Event()
    deleting = asyncio.create_task(delete_beside(database, begun))
    async with database.write() as session:
        held = await lock(session, Service, service.id)
        begun.set()
        await somebody_waits_for_a_lock(database)
        for version in await session.scalars(select(Version).order_by(Version.id)):
            await lock(session, Version, version.id)
        held.description = "changed"
    await deleting
    assert await statuses(database, Service) == ["deleting"]


async def test_a_deletion_and_a_claim_of_an_inspection_do_not_block_each_other(database: Database) -> None:
    """Who claims has locked its operations before it raises the routing version."""
    async with database.write() as session:
        await models(session)
        await deploy(session, "a")
        other = await deploy(session, "other", "wine")
    begun = asyncio.Event()
    deleting = asyncio.create_task(delete_beside(database, begun))
    async with database.write() as session:
        inspections = select(Operation).where(Operation.kind == "version.inspect").order_by(Operation.id)
        assert len(list(await session.scalars(inspections.with_for_update(key_share=True)))) == 3
        begun.set()
        await somebody_waits_for_a_lock(database)
        await advance(session, await lock(session, Service, other.id), "deploy", TEST)
    await deleting
    assert await statuses(database, Service) == ["deleting", "deploying"]


async def test_it_waits_for_processes_that_do_not_know_such_work(database: Database) -> None:
    async with database.write() as session:
        await models(session)
        await deploy(session, "a")
    old = Presence(database, Self("worker:1", "worker", "here", 1, "0.1", "0011"))
    await old.start()
    with pytest.raises(UpgradeUnderWay, match="deleting a model with its services must wait"):
        async with database.write() as session:
            await delete(session)
    assert await statuses(database, Service) == ["pending"]
    async with database.read() as session:
        model = await find_model(session, ME.tenant_id, "iris")
        assert (await plan_deletion(session, model, with_services=True)).services == ["a"]
    await old.stop()
    async with database.write() as session:
        await delete(session)
    assert await statuses(database, Service) == ["deleting"]


async def test_more_services_than_one_transaction_can_end_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.cascading.MOST_SERVICES", 3)  # a figure, not a function
    async with database.write() as session:
        await models(session)
        for number in range(4):
            await deploy(session, f"s{number}")
    with pytest.raises(TooManyServices, match="used by 4 services, and 3 at most"):
        async with database.write() as session:
            await delete(session)
    async with database.read() as session:
        with pytest.raises(TooManyServices):
            await plan_deletion(session, await find_model(session, ME.tenant_id, "iris"), with_services=True)
    assert set(await statuses(database, Service)) == {"pending"}


@pytest.mark.parametrize(
    ("confirmed", "told"),
    [
        ({"a"}, "is used by 'late', too;"),
        ({"a", "late", "gone"}, "is not used by 'gone' any more;"),
        ({"a", "gone"}, "is used by 'late', too, and not by 'gone' any more;"),
        (set(), "is used by 'a', 'late', too;"),
    ],
)
async def test_only_the_confirmed_services_go(database: Database, confirmed: set[str], told: str) -> None:
    async with database.write() as session:
        await models(session)
        for name in ("a", "late"):
            await deploy(session, name)
    with pytest.raises(OtherServices, match=told):
        async with database.write() as session:
            await delete(session, confirmed)
    assert await statuses(database, Service) == ["pending", "pending"]
    async with database.write() as session:
        await delete(session, {"a", "late"})
    assert await statuses(database, Service) == ["deleting", "deleting"]
