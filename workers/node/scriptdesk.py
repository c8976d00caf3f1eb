"""What one process of a script has written down: its token, its reports, what it left. All fenced by its epoch."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.errors import DatabaseBusy, Json, PlatformError
from core.secrets import hash_token, new_token
from state.artifacts import CHECKPOINT, Role, RunFile, all_inputs, keep_files, seek_file
from state.blobs import touch_blob
from state.database import WriteSession
from state.reports import Report, RunNotRunning, add_reports, note_far
from state.runplacing import ProcessGone, give_token
from workers.node.processes import Identity
from workers.node.rundesk import Desk
from workers.node.scriptfiles import open_plain, outputs_of, pack

PIECE_BYTES = 1024 * 1024
AT_ONCE = 100  # files of one transaction


class ScriptDesk:
    """The writings of one process, over those that every process of a run has."""

    def __init__(self, desk: Desk, run_id: str, epoch: int) -> None:
        self._desk, self._run_id, self._epoch = desk, run_id, epoch

    async def name(self, identity: Identity) -> None:
        """Say which process it is. Raises `ProcessGone`, `TermOver`."""
        await self._desk.name(identity)

    async def end(self, ending: Mapping[str, Json] | None) -> None:
        """Say that the process is gone. Raises `ProcessGone`, `TermOver`, `DatabaseBusy`."""
        await self._desk.end(ending)

    async def token(self) -> str:
        """A token for the process that is about to start. Raises `ProcessGone`, `TermOver`."""
        token = new_token()
        await self._desk.write(lambda session: give_token(session, self._run_id, self._epoch, hash_token(token)))
        return token

    async def inputs(self) -> tuple[Sequence[RunFile], RunFile | None]:
        """What the run reads, and its newest checkpoint. Raises `DatabaseBusy`."""
        async with self._desk.database.read() as session:
            found = await seek_file(session, self._run_id, "checkpoint", CHECKPOINT)
            kept = None if found is None else RunFile(found.path, found.digest, found.size_bytes)
            return await all_inputs(session, self._run_id), kept

    async def report(self, reports: Sequence[Report]) -> None:
        """Keep figures. Raises `ProcessGone`, `TermOver`."""

        async def write(session: WriteSession) -> int:
            return await add_reports(session, self._run_id, reports, self._epoch)

        await self._unless_gone(write)

    async def tell(self, far: Mapping[str, Json]) -> None:
        """Say how far it is; trouble is no reason to stop. Raises `ProcessGone`, `TermOver`."""

        async def write(session: WriteSession) -> None:
            await note_far(session, self._run_id, far, self._epoch)

        with suppress(DatabaseBusy):
            await self._unless_gone(write)

    async def keep_outputs(self, folder: Path) -> int:
        """Bring what lies in the output folder into the store; how many files. Raises as `report`, and `DiskFull`."""
        found = await asyncio.to_thread(outputs_of, folder)
        kept = [RunFile(path, *stored) for path, file in found if (stored := await self._put(file)) is not None]
        await self._keep("output", kept)
        return len(kept)

    async def keep_checkpoint(self, folder: Path, desk: Path) -> None:
        """Bring what lies in the checkpoint folder into the store, as one archive. Raises as `keep_outputs`."""
        handle, name = await asyncio.to_thread(tempfile.mkstemp, dir=desk)
        os.close(handle)
        archive = Path(name)
        try:
            has_files = await asyncio.to_thread(pack, folder, archive)
            stored = await self._put(archive) if has_files else None
            await self._keep("checkpoint", [] if stored is None else [RunFile(CHECKPOINT, *stored)])
        finally:
            await asyncio.to_thread(archive.unlink, missing_ok=True)

    async def _keep(self, role: Role, files: Sequence[RunFile]) -> None:
        for start in range(0, max(1, len(files)), AT_ONCE):
            some = files[start : start + AT_ONCE]

            async def touch(session: WriteSession, some: Sequence[RunFile] = some) -> None:
                for digest, size_bytes in sorted({(file.digest, file.size_bytes) for file in some}):
                    await touch_blob(session, digest, size_bytes)

            async def keep(session: WriteSession, some: Sequence[RunFile] = some, first: bool = start == 0) -> None:
                await keep_files(session, self._run_id, self._epoch, role, some, first=first)

            await self._desk.write(touch)
            await self._desk.write(keep)

    async def _put(self, path: Path) -> tuple[str, int] | None:
        """Digest and size of a stored file; nothing for what is no plain file."""
        try:
            handle = await asyncio.to_thread(open_plain, path)
        except OSError:
            return None
        try:
            stored = await self._desk.store.put(_pieces(handle))
        finally:
            os.close(handle)
        return str(stored.digest), stored.size_bytes

    async def _unless_gone(self, write: Any) -> None:
        try:
            await self._desk.write(write)
        except RunNotRunning as error:
            raise ProcessGone(error.message) from error


async def _pieces(handle: int) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(os.read, handle, PIECE_BYTES):
        yield piece


def last_word(error: PlatformError) -> Mapping[str, Json]:
    """The verdict that an error of ours is for a run."""
    return {"outcome": "failed", "problem": error.as_problem()}
