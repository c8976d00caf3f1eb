"""What the replicas of this node can run: asked once of the model server's interpreter, told with the process' row."""

import asyncio
import json
import logging
from collections.abc import Mapping
from contextlib import suppress

from core.errors import Json
from core.settings import Settings
from workers.children import child_environment, run_child, serving_command

log = logging.getLogger(__name__)
ANSWER_S = 60.0  # of a child that does almost nothing, on a machine that may do much


class Runtimes:
    """Asks in the background: nothing waits for the answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._details: Mapping[str, Json] = {}
        self._task: asyncio.Task[None] | None = None

    def details(self) -> Mapping[str, Json]:
        """`{"runtimes": […]}` once the interpreter has answered."""
        return self._details

    def start(self) -> None:
        """Ask."""
        self._task = asyncio.create_task(self.ask(), name="runtimes")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def ask(self) -> None:
        """Ask and keep the answer; an interpreter that gives none is logged."""
        settings = self._settings
        command = serving_command(settings, "runtimes")
        try:
            end = await run_child(
                command, environment=child_environment(settings.cache, {}), stdin=b"", timeout_s=ANSWER_S
            )
        except OSError as error:
            log.warning("the model server's interpreter does not start (PORTSIDE_SERVING_PYTHON): %s", error)
            return
        if end.exit_code != 0:
            log.warning("the model server does not say what it can run (exit code %s): %s", end.exit_code, end.stderr)
            return
        self._details = {"runtimes": json.loads(end.stdout)}
