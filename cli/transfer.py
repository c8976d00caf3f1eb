"""Progress on the terminal: bytes on their way, and how far an operation is. Nothing of it in a pipe."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from cli.client import Document, Platform
from cli.output import Output
from cli.upload import upload
from cli.words import target_in_words
from portside.messages import Answer
from portside.sources import Watch


@contextmanager
def bytes_watched(what: str, size_bytes: int, output: Output) -> Iterator[Watch]:
    """A bar of bytes and speed for the length of the block, which tells it how many more there are."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=output.progress, transient=True, disable=not output.is_watched) as progress:
        bar = progress.add_task(what, total=size_bytes)
        yield lambda size: progress.advance(bar, size)


def send_watched(platform: Platform, file: Path, model: str, output: Output) -> Answer:
    """Upload with a bar of bytes and speed. Raises `CommandFailed`."""
    with bytes_watched("upload", file.stat().st_size, output) as watch:
        return upload(platform, file, model, watch)


class Stage:
    """The stage and the percent of one operation, as a bar that moves while somebody watches."""

    def __init__(self, progress: Progress, operation: Document) -> None:
        self._progress = progress
        self._bar = progress.add_task(_words(operation), total=None)

    def show(self, operation: Document) -> None:
        """How far it is now; while nothing tells the percent, the bar only moves."""
        percent = float(operation["progress"]["percent"])
        total = 100 if percent else None
        self._progress.update(self._bar, description=_words(operation), completed=percent, total=total)


@contextmanager
def stage_of(operation: Document, output: Output) -> Iterator[Stage]:
    """A bar for the length of the block."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=output.progress, transient=True, disable=not output.is_watched) as progress:
        yield Stage(progress, operation)


def _words(operation: Document) -> str:
    """`service.deploy of service iris: starting (1 of 2)`."""
    progress = operation["progress"]
    why = progress.get("detail") or operation.get("waiting_for")
    detail = f" ({why})" if why else ""
    return f"{operation['kind']} of {target_in_words(operation)}: {progress['stage']}{detail}"
