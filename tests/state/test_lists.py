"""Pages of rows, and what a list shows of what belongs to them."""

from dataclasses import replace
from itertools import count
from typing import Any

from sqlalchemy import event, select

from core.clock import now_micros
from core.ids import new_id
from state.advance import advance
from state.database import Database, WriteSession
from state.migrate import DEFAULT_TENANT
from state.queries.lists import Condition, View, page
from state.queries.models import ModelSummary, list_models, summaries
from state.tables import Alias, Model, Version
from tests.state.rows import TEST, make_model, make_version_of

NUMBERS = count(1)


async def add_version(session: WriteSession, model: Model, number: int, *moves: str) -> Version:
    version = await make_version_of(session, model, number, f"{next(NUMBERS):064}")
    for move in moves:
        await advance(session, version, move, TEST)
    return version


async def test_a_list_sums_up_the_versions_and_aliases_of_each_model(database: Database) -> None:
    ready, invalid, gone = ("inspect", "accept"), ("inspect", "reject"), ("inspect", "accept", "delete")
    async with database.write() as session:
        bare, full, other = [await make_model(session, name) for name in ("bare", "full", "other")]
        first = await add_version(session, full, 1, *ready)
        second = await add_version(session, full, 2, *ready)
        await add_version(session, full, 3, *invalid)
        await add_version(session, full, 4, *gone)
        await add_version(session, other, 7)
        for name, version in (("stable", second), ("canary", second), ("old", first)):
            alias = Alias(tenant_id=DEFAULT_TENANT, created_at=now_micros(), model_id=full.id, version_id=version.id)
            alias.id, alias.name = new_id("als"), name
            session.add(alias)
    async with database.read() as session:
        found = await summaries(session, [bare, full])
    assert found == {bare.id: ModelSummary(), full.id: ModelSummary(3, 2, 3, {"canary": 2, "old": 1, "stable": 2})}
    assert list(found[full.id].aliases) == ["canary", "old", "stable"]
    async with database.read() as session:
        assert await summaries(session, [other]) == {other.id: ModelSummary(1, None, 7)}
        assert await summaries(session, []) == {}


async def test_a_listed_row_reads_as_the_row_itself(database: Database) -> None:
    async with database.write() as session:
        made = await make_model(session, "iris")
        made.tags, made.description = ["a", "ü"], "What it is for"
    async with database.read() as session:
        (listed,) = (await list_models(session, DEFAULT_TENANT, View())).rows
        alone = await session.get_one(Model, made.id)
        for column in Model.__table__.columns:
            assert getattr(listed, column.name) == getattr(alone, column.name), column.name


async def test_a_row_without_a_column_says_so_where_it_is_missed(database: Database) -> None:
    async with database.write() as session:
        await make_model(session, "iris")
    async with database.read() as session:
        (row,) = (await page(session, select(Model), Model, View(), without=("description",))).rows
    assert row.name == "iris"
    assert not hasattr(row, "description")


async def test_a_range_does_not_make_sqlite_sort_the_table(database: Database) -> None:
    since = Condition("updated_at", "lt", (now_micros() + 60_000_000,))
    view = View((since, Condition("name", "contains", ("b",))))
    async with database.write() as session:
        made = [await make_model(session, name) for name in ("a", "b", "c")]
    async with database.read() as session:
        asked: list[tuple[str, Any]] = []
        engine = session.get_bind().engine
        event.listen(engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        found = await list_models(session, DEFAULT_TENANT, view)
        assert [row.id for row in found.rows] == [made[1].id]
        if database.dialect == "sqlite":
            ((statement, values),) = asked
            connection = await session.connection()
            plan = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)).all()
            assert "ix_models_list" in str(plan)
            assert "TEMP B-TREE" not in str(plan)


async def test_models_are_listed_in_the_order_of_their_last_change(database: Database) -> None:
    async with database.write() as session:
        models = [await make_model(session, name) for name in ("a", "b", "c", "d")]
        for model, changed in zip(models, (5, 3, 3, 9), strict=True):
            model.updated_at = changed
    b, c = sorted(models[1:3], key=lambda model: model.id)
    expected = [b.id, c.id, models[0].id, models[3].id]
    for descending in (False, True):
        seen: list[str] = []
        view = View(order_by="updated_at", descending=descending, size=1)
        while True:
            async with database.read() as session:
                found = await list_models(session, DEFAULT_TENANT, view)
            seen += [row.id for row in found.rows]
            if found.next is None:
                break
            view = replace(view, after=found.next)
        assert seen == (expected[::-1] if descending else expected)
