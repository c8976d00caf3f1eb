"""From a run's spec and its ledger to a program that can be started: its files, plan, command line and environment."""

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

from core.secrets import Vault
from core.settings import Settings
from state.inputs import InputFile
from state.ledger import Mark
from state.runspecs import RunSpec
from storage.cache import ArtifactCache
from storage.digests import Digest
from workers.children import child_environment, serving_command
from workers.node.processes import Program

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchLaunch:
    """What a batch scorer is told on its command line. `memory_mb` None is without a limit."""

    model_file: Path
    signature_file: Path
    plan_file: Path
    output: Path
    threads: int
    memory_mb: int | None
    parent_fd: int


BatchCommand = Callable[[BatchLaunch], Sequence[str]]


def batch_scorer(settings: Settings) -> BatchCommand:
    """The command line of `python -m serving batch`; the descriptors of its two pipes come behind it."""

    def command(launch: BatchLaunch) -> Sequence[str]:
        arguments = {
            "--model": launch.model_file,
            "--signature": launch.signature_file,
            "--plan": launch.plan_file,
            "--output": launch.output,
            "--threads": launch.threads,
            "--memory-mb": launch.memory_mb,
            "--parent-fd": launch.parent_fd,
        }
        given = [(name, str(value)) for name, value in arguments.items() if value is not None]
        return serving_command(settings, "batch", *(part for pair in given for part in pair))

    return command


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where one process of a run lives on this machine."""

    folder: Path
    log_path: Path
    cache: Path
    parent_fd: int

    @property
    def input(self) -> Path:
        """Where what it reads has names of its own."""
        return self.folder / "input"

    @property
    def output(self) -> Path:
        """Where it leaves its chunks."""
        return self.folder / "output"


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where a process begins, how many rows a chunk has (None: as the scorer chooses), and files held for the run."""

    mark: Mark
    chunk_rows: int | None
    files: Sequence[InputFile]


async def prepare_run(
    spec: RunSpec, beginning: Beginning, place: RunPlace, cache: ArtifactCache, vault: Vault, command: BatchCommand
) -> Program:
    """Make the files of a process. Raises PlatformError (an artifact, a secret) and OSError (our own folders)."""
    batch = spec.batch
    await _beside(_make_folders, place)
    model_file = await cache.path(Digest.parse(batch["digest"]))
    is_table = batch["input"]["kind"] == "table"
    source = await (_table(spec, place, cache) if is_table else _files(beginning.files, place, cache))
    await _beside(_write_files, place, batch["signature"], _plan(spec, beginning, source))
    threads = max(1, ceil(spec.cpu))
    launch = BatchLaunch(
        model_file=model_file.absolute(),  # the child has another current folder
        signature_file=place.folder / "signature.json",
        plan_file=place.folder / "plan.json",
        output=place.output,
        threads=threads,
        memory_mb=spec.memory_mb,
        parent_fd=place.parent_fd,
    )
    defaults = {"OMP_NUM_THREADS": str(threads), "TMPDIR": str(place.folder / "tmp")}
    environment = child_environment(place.cache, {**defaults, **_variables(spec, vault)})
    return Program(command(launch), environment, place.folder, place.log_path, place.parent_fd, steps_back=True)


async def _table(spec: RunSpec, place: RunPlace, cache: ArtifactCache) -> dict[str, Any]:
    """The parts of a table, in order."""
    source, paths = spec.batch["input"], []
    for ordinal, part in enumerate(source["parts"]):
        stored = await cache.path(Digest.parse(part["digest"]))
        paths.append(str(await _beside(_kept, stored, place.input / f"{ordinal:08}")))
    return {"files": paths, "format": source["layout"]}


async def _files(files: Sequence[InputFile], place: RunPlace, cache: ArtifactCache) -> dict[str, Any]:
    """A folder of files, and the list of them."""
    listing = place.folder / "files.jsonl"
    lines = []
    for file in files:
        stored = await cache.path(Digest.parse(file.digest))
        await _beside(_laid, stored, place.input / file.path)
        lines.append(json.dumps({"path": file.path, "size": file.size_bytes}) + "\n")
    await _beside(listing.write_text, "".join(lines), "utf-8")
    return {"kind": "files", "root": str(place.input), "list": str(listing)}


async def _beside(work: Callable[..., T], *given: object) -> T:
    """Blocking work beside the event loop, to its end: who is cancelled leaves when nothing is written any more, as its
    folder is removed then."""
    doing = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.gather(doing, return_exceptions=True)
        raise


def _make_folders(place: RunPlace) -> None:
    place.log_path.parent.mkdir(parents=True, exist_ok=True)
    place.folder.mkdir(mode=0o700)
    for name in ("input", "output", "tmp"):
        (place.folder / name).mkdir(mode=0o700)


def _kept(stored: Path, own: Path) -> Path:
    """A name of our own for the bytes, so that a cache which needs the room does not take them from a long run."""
    try:
        os.link(stored, own)
    except OSError:  # another file system, or one without links
        return stored.absolute()
    return own


def _laid(stored: Path, own: Path) -> None:
    """A file under its own path."""
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _kept(stored, own) != own:
        own.symlink_to(stored.absolute())


def _write_files(place: RunPlace, signature: Mapping[str, Any], plan: Mapping[str, Any]) -> None:
    (place.folder / "signature.json").write_text(json.dumps(signature), "utf-8")
    (place.folder / "plan.json").write_text(json.dumps(plan), "utf-8")


def _plan(spec: RunSpec, beginning: Beginning, source: Mapping[str, Any]) -> dict[str, Any]:
    """What `serving.batch.plan` reads. The same for every process of the run but for where it begins."""
    batch, mark = spec.batch, beginning.mark
    done = mark.tally
    resume = None
    if mark.position is not None:
        counts = {"rows_in": done.rows_in, "rows_out": done.rows_out, "bad": done.bad, "chunks": done.chunks}
        resume = {"position": dict(mark.position), **counts}
    named = ("mapping", "pass_through", "on_error", "parallelism")
    return {
        "input": source,
        "output": {name: batch["output"][name] for name in ("format", "compression")},
        **{name: batch[name] for name in named},
        "chunk_rows": beginning.chunk_rows,
        "version": {"model": batch["model"], "version": batch["version"], "part": batch["part"]},
        "resume": resume,
        "rows": batch["input"].get("rows"),
    }


def _variables(spec: RunSpec, vault: Vault) -> dict[str, str]:
    """The user's own variables, and the given ones, which they may not change."""
    sealed = spec.env_sealed
    users: dict[str, str] = json.loads(vault.open(sealed, f"job:{spec.job_id}")) if sealed else {}
    given = {
        "PORTSIDE_JOB": spec.job,
        "PORTSIDE_RUN": str(spec.number),
        "PORTSIDE_MODEL": str(spec.batch["model"]),
        "PORTSIDE_VERSION": str(spec.batch["version"]),
    }
    return {**users, **given}
