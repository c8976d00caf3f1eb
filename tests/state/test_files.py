"""A file's row keeps its blob, and goes at its time."""

from datetime import timedelta

import pytest

from core.clock import now_micros, to_micros
from core.errors import InvalidField, Json
from state.blobs import touch_blob
from state.database import Database
from state.migrate import DEFAULT_TENANT
from state.operations import Who
from state.queries import files
from state.queries.lists import View
from state.sweeping import doom, forget_old, pardon
from state.tables import Blob, File

ME = Who(DEFAULT_TENANT, "local", "admin")
DIGEST = f"sha256:{'a' * 64}"
ABOUT: dict[str, Json] = {"für": ["é", None]}


async def add(database: Database) -> File:
    async with database.write() as session:
        await touch_blob(session, DIGEST, 3)
        return await files.add(session, ME, files.NewFile(DIGEST, 3, "слон.txt", "text/plain", ABOUT))


async def test_a_blob_is_doomed_only_when_the_last_of_its_files_is_gone(database: Database) -> None:
    rows = [await add(database) for _ in range(2)]
    later = now_micros() + to_micros(timedelta(hours=1))
    for row in rows:
        async with database.write() as session:
            assert await doom(session, later) == 0
            await files.remove(session, await files.hold(session, DEFAULT_TENANT, row.id))
    async with database.write() as session:
        assert await doom(session, later) == 1


async def test_a_file_that_comes_back_to_a_doomed_blob_saves_it(database: Database) -> None:
    row = await add(database)
    async with database.write() as session:
        await files.remove(session, await files.hold(session, DEFAULT_TENANT, row.id))
        assert await doom(session, now_micros() + to_micros(timedelta(hours=1))) == 1
    await add(database)
    async with database.write() as session:
        await pardon(session)
        blob = await session.get_one(Blob, DIGEST)
        assert blob.doomed_at is None


async def test_files_are_read_back_as_they_were_and_forgotten_in_time(database: Database) -> None:
    row = await add(database)
    async with database.read() as session:
        found = await files.find(session, DEFAULT_TENANT, row.id)
        assert (found.name, found.content_type, found.about) == ("слон.txt", "text/plain", ABOUT)
    async with database.write() as session:
        assert await forget_old(session, "file", row.created_at, 10) == 0
        assert await forget_old(session, "file", row.created_at + 1, 10) == 1
        assert (await files.listing(session, DEFAULT_TENANT, View())).rows == []


async def test_a_list_is_paged_back_as_it_was_paged_forth(database: Database) -> None:
    ids = [(await add(database)).id for _ in range(5)]
    for descending, wanted in ((False, ids), (True, ids[::-1])):
        view = View(size=2, descending=descending)
        async with database.read() as session:
            first = await files.listing(session, DEFAULT_TENANT, view)
            second = await files.listing(session, DEFAULT_TENANT, View(size=2, descending=descending, after=first.next))
            third = await files.listing(session, DEFAULT_TENANT, View(size=2, descending=descending, after=second.next))
            back = await files.listing(
                session, DEFAULT_TENANT, View(size=2, descending=descending, before=third.previous)
            )
            begin = await files.listing(
                session, DEFAULT_TENANT, View(size=2, descending=descending, before=back.previous)
            )
        assert [row.id for page in (first, second, third) for row in page.rows] == wanted
        assert [row.id for row in back.rows] == [row.id for row in second.rows]
        assert ([row.id for row in begin.rows], begin.previous, begin.next) == (wanted[:2], None, first.next)
        assert (third.next, first.previous) == (None, None)


def test_files_at_pointers_that_are_cut_alike_are_all_found() -> None:
    names = ["n" * 100 + end for end in "ab"]
    found = files.named_files({"inputs": [{name: {"$file": f"file_{name[-1]}"} for name in names}]})
    assert [each.file_id for each in found] == ["file_a", "file_b"]
    assert {each.pointer for each in found} == {f"/inputs/0/{'n' * 100}"}


def test_an_input_names_a_thousand_files_at_most() -> None:
    names: list[Json] = [{"$file": "file_1"}] * files.MOST_FILES
    assert len(files.named_files({"inputs": names})) == files.MOST_FILES
    with pytest.raises(InvalidField) as caught:
        files.named_files({"inputs": [*names, {"$file": "file_2"}]})
    assert caught.value.fields[0].pointer == f"/inputs/{files.MOST_FILES}"
