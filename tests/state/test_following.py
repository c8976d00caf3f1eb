"""Which services are behind what they follow, and rolling them on: the same on both databases."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from sqlalchemy import select

from state.advance import advance, lock
from state.cataloguing import (
    Description,
    NewVersion,
    add_version,
    create_model,
    hold_model,
    hold_ready_version,
    set_alias,
)
from state.database import Database, WriteSession
from state.deploying import act, change_service, create_service, hold_service
from state.following import roll_on
from state.processes import Presence, Self
from state.queries.following import Late, behind, hold_followers
from state.tables import Model, Revision, Service, Version
from state.wishes import Wish
from tests.state.rows import ME, TEST, VAULT, somebody_waits_for_a_lock

NEW = NewVersion(digest=f"sha256:{'ab' * 32}", size_bytes=3, format="onnx")


async def add(session: WriteSession, model: Model, *, ready: bool = True, new: NewVersion = NEW) -> Version:
    version, _ = await add_version(session, ME, model, new)
    if ready:
        await make_ready(session, version)
    return version


async def make_ready(session: WriteSession, version: Version) -> None:
    for move in ("inspect", "accept"):
        await advance(session, version, move, TEST)


async def iris(session: WriteSession) -> Model:
    """The model with two ready versions, the first of which is `@prod`."""
    model = await create_model(session, ME, "iris", Description())
    first = await add(session, model)
    await add(session, model)
    await set_alias(session, ME, model, "prod", first)
    return model


async def follower(session: WriteSession, name: str, reference: str) -> Service:
    wish = Wish(model="iris", version=reference, follow=True, env={"A": "1"})
    service, _ = await create_service(session, ME, VAULT, name, wish, Description())
    return service


async def late(session: WriteSession) -> list[str]:
    """The services that are behind."""
    return [each.service_id for each in await behind(session)]


async def move_prod(database: Database, may_begin: asyncio.Event) -> None:
    """Let `@prod` mean the second version, as the API does."""
    await may_begin.wait()
    async with database.write() as session:
        model = await hold_model(session, ME, "iris")
        followers = await hold_followers(session, model, "@prod", 10)
        await set_alias(session, ME, model, "prod", await hold_ready_version(session, model, "2"))
        await roll_on(session, ME, VAULT, followers)


async def test_who_is_behind_is_told_by_what_the_reference_means_now(database: Database) -> None:
    async with database.write() as session:
        model = await iris(session)
        by_alias, by_age = await follower(session, "a", "@prod"), await follower(session, "b", "latest")
        await create_service(session, ME, VAULT, "pinned", Wish(model="iris", version="@prod"), Description())
        assert await late(session) == []
        third = await add(session, model, ready=False)
        assert await late(session) == []
        await make_ready(session, third)
        assert await late(session) == [by_age.id]
        await set_alias(session, ME, model, "prod", third)
        assert await late(session) == sorted([by_alias.id, by_age.id])  # made within a millisecond, in any order
        assert await behind(session, by_age.id) == [Late(by_age.id, third.id)]
        await act(session, ME, by_age, "delete")
        assert await late(session) == [by_alias.id]


async def test_who_rolls_on_keeps_the_rest_and_is_no_longer_behind(database: Database) -> None:
    async with database.write() as session:
        model = await iris(session)
        service = await follower(session, "a", "latest")
        third = await add(session, model)
        await roll_on(session, ME, VAULT, [service])
        assert (await late(session), service.followed_id, service.version_ref) == ([], third.id, "latest")
        before = service.revision_id
        await roll_on(session, ME, VAULT, [service])
        assert service.revision_id == before


async def test_the_followers_of_one_alias_of_one_model_are_held(database: Database) -> None:
    async with database.write() as session:
        model = await iris(session)
        other = await create_model(session, ME, "wine", Description())
        ids = sorted([(await follower(session, name, "@prod")).id for name in ("a", "b")])
        await follower(session, "c", "latest")
        assert [each.id for each in await hold_followers(session, model, "@prod", 10)] == ids
        assert [each.id for each in await hold_followers(session, model, "@prod", 1)] == ids[:1]
        assert await hold_followers(session, other, "@prod", 10) == []


async def test_an_alias_that_moves_while_its_follower_is_changed_waits_for_it(database: Database) -> None:
    async with database.write() as session:
        await iris(session)
        await follower(session, "a", "@prod")
    has_begun = asyncio.Event()

    async def change() -> None:
        async with database.write() as session:
            service = await hold_service(session, ME, "a")
            has_begun.set()
            await somebody_waits_for_a_lock(database)
            service.version_ref = service.followed_id = None  # it follows no more

    await asyncio.gather(change(), move_prod(database, has_begun))
    async with database.write() as session:
        service = await hold_service(session, ME, "a")
        assert (service.generation, (await lock(session, Service, service.id)).version_ref) == (1, None)


async def test_an_alias_that_moves_while_its_follower_gets_a_revision_waits_for_it(database: Database) -> None:
    """A new revision refers to the model that whoever moves the alias holds: that must not make one wait for itself."""
    async with database.write() as session:
        await iris(session)
        await follower(session, "a", "@prod")
    has_begun = asyncio.Event()

    async def change() -> None:
        async with database.write() as session:
            service = await hold_service(session, ME, "a")
            has_begun.set()
            await somebody_waits_for_a_lock(database)
            await change_service(session, ME, VAULT, service, Wish(env={"A": "2"}))

    await asyncio.gather(change(), move_prod(database, has_begun))
    async with database.write() as session:
        assert await late(session) == []
        assert (await hold_service(session, ME, "a")).generation == 3


async def pin(session: WriteSession, service: Service, engine: str) -> None:
    revision = (await session.scalars(select(Revision).where(Revision.id == service.revision_id))).one()
    revision.runtime = {"engine": engine}
    await session.flush()


@asynccontextmanager
async def node(database: Database) -> AsyncIterator[None]:
    """A node that can run ONNX files with `onnxruntime`."""
    runtime = {"engine": "onnxruntime", "engine_version": "1.31.1", "python": "3.11.7", "formats": ["onnx"]}
    me = Self("node:1", "node", "here", 1, "0", "0011")
    presence = Presence(database, me, lambda: {"runtimes": [runtime]})
    await presence.start()
    try:
        yield
    finally:
        await presence.stop()


async def test_one_that_cannot_run_the_version_holds_up_neither_the_others_nor_the_alias(database: Database) -> None:
    async with database.write() as session:
        model = await iris(session)
        stuck, other = await follower(session, "a", "@prod"), await follower(session, "b", "@prod")
        await pin(session, stuck, "of-yesterday")
        before = stuck.revision_id
    async with node(database), database.write() as session:
        model = await hold_model(session, ME, "iris")
        followers = await hold_followers(session, model, "@prod", 10)
        second = await hold_ready_version(session, model, "2")
        await set_alias(session, ME, model, "prod", second)
        await roll_on(session, ME, VAULT, followers)
    async with database.write() as session:
        stuck, other = await hold_service(session, ME, "a"), await hold_service(session, ME, "b")
        assert (stuck.followed_id, other.followed_id) == (second.id, second.id)
        assert stuck.revision_id == before
        assert other.revision_id != before
        assert await late(session) == []


async def test_one_whose_node_is_away_is_asked_again(database: Database) -> None:
    async with database.write() as session:
        model = await iris(session)
        service = await follower(session, "a", "latest")
        await pin(session, service, "onnxruntime")
        await add(session, model)
        await roll_on(session, ME, VAULT, [service])
        assert await late(session) == [service.id]


async def test_one_that_follows_to_several_models_waits_until_no_older_process_is_there(database: Database) -> None:
    old = Presence(database, Self("node:1", "node", "here", 1, "0.1", "0012"))
    await old.start()
    async with database.write() as session:
        model = await iris(session)
        service = await follower(session, "a", "latest")
        third = await add(session, model, new=replace(NEW, format="parts"))
        await roll_on(session, ME, VAULT, [service])
        assert await late(session) == [service.id]
    await old.stop()
    async with database.write() as session:
        service = await hold_service(session, ME, "a")
        await roll_on(session, ME, VAULT, [service])
        assert (await late(session), service.followed_id) == ([], third.id)


async def test_a_service_that_was_taken_back_to_another_model_follows_nothing_there(database: Database) -> None:
    async with database.write() as session:
        model = await iris(session)
        service = await follower(session, "a", "@prod")
        before = service.revision_id
        wine = await create_model(session, ME, "wine", Description())
        await add(session, wine)
        await change_service(session, ME, VAULT, service, Wish(model="wine", version="latest", follow=True))
        service.revision_id = before  # as a failed update leaves it
        await session.flush()
        await add(session, model)
        assert await late(session) == []
