"""From a script's run to a program that can be started: its environment, its files, its variables."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.clock import rfc3339
from core.errors import Rejected
from core.secrets import Vault
from core.settings import Settings
from state.artifacts import RunFile
from state.runspecs import RunSpec
from storage.cache import ArtifactCache
from storage.digests import Digest
from workers.children import child_environment, run_child, serving_command
from workers.node.environments import Workshop, environment_of
from workers.node.isolation import Isolation, Lodging
from workers.node.keeping import Kept
from workers.node.scriptfiles import ScriptPlace, hand_over, lay, make_folders, unpack

UNPACK_S: Final = 600.0
REPORT_FD: Final = "PORTSIDE_REPORT_FD"
MOST_UNPACKED: Final = 20_000


class ScriptRefused(Rejected):
    """The script is not what its job says that it is."""

    code, title = "script_refused", "The script cannot be run"


@dataclass(frozen=True, slots=True)
class Stage:
    """What all scripts of a node are started with."""

    settings: Settings
    cache: ArtifactCache
    vault: Vault
    isolation: Isolation
    workshop: Workshop
    api: str


@dataclass(frozen=True, slots=True)
class Script:
    """One process of a run: what it reads, and what it may call us with."""

    spec: RunSpec
    inputs: Sequence[RunFile]
    checkpoint: RunFile | None
    token: str


async def prepare_script(stage: Stage, script: Script, place: ScriptPlace, lodging: Lodging, report_fd: int) -> Kept:
    """Make everything ready. Raises `EnvironmentFailed`, `ScriptRefused`, PlatformError (an artifact, a secret) and
    OSError (our own folders)."""
    told = script.spec.script or {}
    _check_python(told.get("python"))
    await asyncio.to_thread(make_folders, place)
    environment = await environment_of(stage.workshop, told.get("requirements") or "", place.log_path)
    await _lay_script(stage, told, place)
    for file in script.inputs:
        stored = await stage.cache.path(Digest.parse(file.digest))
        await asyncio.to_thread(lay, stored, place.folder / file.path)
    if script.checkpoint is not None and not any(place.checkpoint.iterdir()):
        archive = await stage.cache.path(Digest.parse(script.checkpoint.digest))
        await asyncio.to_thread(unpack, archive, place.checkpoint)
    await asyncio.to_thread(hand_over, place, lodging.uid)
    entry = place.script / told["entry"]
    if not entry.is_file() or entry.is_symlink():
        raise ScriptRefused(f"the script has no file '{told['entry']}'; say which one is its entry")
    command = [str(environment / "bin" / "python"), "-u", told["entry"], *told["args"]]
    variables = _variables(stage, script, place, environment) | {REPORT_FD: str(report_fd)}
    return Kept(command, variables, place.script, place.desk, place.log_path, place.parent_fd, lodging, (report_fd,))


def _check_python(wanted: str | None) -> None:
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if wanted is not None and wanted != ours:
        raise ScriptRefused(f"the script wants Python {wanted}; here it is {ours}")


async def _lay_script(stage: Stage, told: Mapping[str, Any], place: ScriptPlace) -> None:
    stored = await stage.cache.path(Digest.parse(told["digest"]))
    if told["kind"] != "archive":
        await asyncio.to_thread(lay, stored, place.script / told["entry"])
        return
    settings = stage.settings
    limits = ["--most-files", str(MOST_UNPACKED), "--most-bytes", str(settings.script_disk_mb * 1024 * 1024)]
    end = await run_child(
        serving_command(settings, "data", "unpack", str(stored.absolute()), str(place.script), *limits),
        environment=child_environment(settings.cache, {"TMPDIR": str(place.desk)}),
        stdin=b"",
        timeout_s=UNPACK_S,
    )
    if end.exit_code != 0:
        raise ScriptRefused(f"the archive cannot be unpacked: {_reason(end.stdout) or end.stderr[-500:]}")


def _reason(answer: bytes) -> str:
    try:
        told = json.loads(answer.splitlines()[-1])
        return str(told["message"]) + (f" ({told['hint']})" if told.get("hint") else "")
    except (ValueError, KeyError, IndexError, TypeError):
        return ""


def _variables(stage: Stage, script: Script, place: ScriptPlace, environment: Path) -> dict[str, str]:
    """The user's own variables, and the given ones, which they may not change."""
    spec = script.spec
    users: dict[str, str] = (
        json.loads(stage.vault.open(spec.env_sealed, f"job:{spec.job_id}")) if spec.env_sealed else {}
    )
    threads = str(max(1, round(spec.cpu)))
    proposed = {
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.defpath}",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": threads,
        "HOME": str(place.folder / "home"),
        "TMPDIR": str(place.folder / "tmp"),
        "VIRTUAL_ENV": str(environment),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    scheduled_for = (spec.script or {}).get("scheduled_for")
    given = {
        "PORTSIDE_API": stage.api,
        "PORTSIDE_TOKEN": script.token,
        "PORTSIDE_JOB": spec.job,
        "PORTSIDE_RUN": str(spec.number),
        "PORTSIDE_INPUTS": str(place.folder / "inputs"),
        "PORTSIDE_MODELS": str(place.folder / "models"),
        "PORTSIDE_OUTPUTS": str(place.outputs),
        "PORTSIDE_CHECKPOINT": str(place.checkpoint),
    }
    if scheduled_for is not None:
        given["PORTSIDE_SCHEDULED_FOR"] = rfc3339(scheduled_for)
    return {**proposed, **users, **given}
