"""Config files of a replica: there before its process starts, for nobody else to read, gone when it has ended."""

import asyncio
from pathlib import Path

import pytest

from core.secrets import SecretUnreadable, Vault
from tests.workers.node.world import World, until
from workers.node.config_files import lay_out, write_config_files
from workers.targets.base import SeenReplica

FILES = {"limits.yaml": "most: 3\n", "rules/deep/prices.csv": "ä,1\r\n", "empty": ""}


def tree(folder: Path) -> dict[str, tuple[int, bytes | None]]:
    """Modes of all that is below a folder, and the bytes of its files."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode & 0o777, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def test_files_are_written_as_they_are_and_only_their_owner_can_read_them(tmp_path: Path) -> None:
    write_config_files(tmp_path / "config", FILES)
    assert (tmp_path / "config").stat().st_mode & 0o777 == 0o700
    assert tree(tmp_path / "config") == {
        "limits.yaml": (0o400, b"most: 3\n"),
        "rules": (0o700, None),
        "rules/deep": (0o700, None),
        "rules/deep/prices.csv": (0o400, "ä,1\r\n".encode()),
        "empty": (0o400, b""),
    }


def test_nothing_is_written_over(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError):
        write_config_files(tmp_path, FILES)


async def test_who_is_cancelled_leaves_when_nothing_is_written_any_more(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    laying = asyncio.create_task(lay_out(folder, {f"{number}.txt": "x" * 200_000 for number in range(50)}))
    await asyncio.sleep(0)  # it has begun, and cannot have ended
    laying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await laying
    assert len(tree(folder)) == 50


async def test_a_replica_finds_its_files_and_they_go_with_it(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec(files=FILES, variables={"PORTSIDE_CONFIG_DIR": "/forged"}))
    [first] = await world.ready(1)
    printed = await world.printed(first.id)
    folder = Path(printed["environment"]["PORTSIDE_CONFIG_DIR"])
    assert folder == Path(printed["folder"]) / "config"
    assert {name for name, (_, content) in tree(folder).items() if content is not None} == set(FILES)

    await world.target.apply(world.spec(generation=2, revision_id="rev_2", files={"limits.yaml": "most: 4\n"}))

    async def replaced() -> list[SeenReplica]:
        alive = [replica for replica in await world.seen() if replica.status != "stopped"]
        return alive if [replica.revision_id for replica in alive] == ["rev_2"] else []

    [second] = await until(replaced)
    other = Path((await world.printed(second.id))["environment"]["PORTSIDE_CONFIG_DIR"])
    assert tree(other) == {"limits.yaml": (0o400, b"most: 4\n")}

    async def gone() -> bool:
        return not await asyncio.to_thread(folder.parent.exists)

    await until(gone)


async def test_without_files_the_folder_is_there_and_empty(world: World) -> None:
    await world.node().start()
    await world.target.apply(world.spec())
    [replica] = await world.ready(1)
    folder = Path((await world.printed(replica.id))["environment"]["PORTSIDE_CONFIG_DIR"])
    assert tree(folder.parent)["config"] == (0o700, None)
    assert tree(folder) == {}


async def test_files_that_another_key_has_sealed_start_nothing_and_say_so(world: World) -> None:
    sealed = Vault(b"x" * 32).seal("{}", "config:rev_1")
    await world.node().start()
    await world.target.apply(world.spec(config_sealed=sealed))
    [failed, *_] = await world.ended("failed")
    assert failed.reason == SecretUnreadable.code
