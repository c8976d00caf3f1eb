"""What is in a data file, as `serving data describe` finds it in a child with limits: the control plane reads none."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.errors import DiskFull, FieldProblem, Json, Rejected
from workers.children import ChildEnd, child_environment, run_reporting_child, serving_command
from workers.resources import Resources
from workers.scratch import scratch_folder

REFUSED: Final = 65  # the child's exit code for a file that its owner can mend
PREVIEW_ROWS: Final = 500
NUL: Final = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")  # behind a backslash that is escaped it is none
WIDEST: Final = 10_000  # columns; what is told of them lies in one row and is shown at once
POINTER: Final = "/file"

WIDE: Final = 1000  # columns: of more their values are not told, every look at the dataset would read them

Watch = Callable[[Mapping[str, Any]], Awaitable[None]]  # is told {"bytes": n, "rows": n} as the child goes on


class DatasetInvalid(Rejected):
    """The file cannot be read as data."""

    code, title = "dataset_invalid", "The data cannot be read"


class DescriptionFailed(Rejected):
    """The file was not understood and not refused either: it crashed what reads it, or took all its memory or time."""

    code, title = "description_failed", "The data could not be described"


@dataclass(frozen=True, slots=True)
class Description:
    """What was found, in the words of ISLAND's contract."""

    format: str
    layout: dict[str, Any]
    rows: int
    rows_are_estimated: bool
    size_bytes: int
    columns: list[Any]
    warnings: list[Any]
    preview: dict[str, Any]

    def as_columns(self) -> dict[str, object]:
        """The dataset's columns, without its size, which its bytes tell, and its preview, which is a blob."""
        return {
            "format": self.format,
            "layout": {name: value for name, value in self.layout.items() if name != "columns"},
            "rows": self.rows,
            "rows_are_estimated": self.rows_are_estimated,
            "column_count": len(self.columns),
            "columns": self.columns,
            "warnings": self.warnings,
        }


@dataclass(frozen=True, slots=True)
class Broken:
    """The child ended without a verdict."""

    reason: str
    problem: dict[str, Any]


async def describe(
    resources: Resources,
    file: Path,
    *,
    name: str | None,
    hints: Mapping[str, object],
    watch: Watch,
    pointer: str = POINTER,
) -> Description | Broken:
    """Describe the file. `hints` is what its owner says of the format. Raises `DatasetInvalid`, what `watch` raises."""
    settings = resources.settings
    said = ["--preview-rows", str(PREVIEW_ROWS), "--memory-mb", str(settings.inspect_memory_mb)]
    size_bytes = (await asyncio.to_thread(file.stat)).st_size
    said += ["--stats", "quick"] if size_bytes > settings.describe_bytes else []
    said += [f"--name={name}"] if name else []  # which may begin with a dash
    said += ["--format", json.dumps(dict(hints))] if hints else []
    limit_s = settings.source_timeout_s

    async def hear(line: bytes) -> None:
        with suppress(ValueError):  # one that was torn by the end of its writer
            await watch(json.loads(line))

    with scratch_folder(settings.data) as folder:
        end = await run_reporting_child(
            serving_command(settings, "data", "describe", str(file), *said),
            environment=child_environment(settings.cache, {"TMPDIR": str(folder)}),
            timeout_s=limit_s,
            hear=hear,
        )
    if end.exit_code == 0:
        return _checked(read_answer(end.stdout), pointer)
    if end.exit_code == REFUSED:
        raise refusal_of(read_answer(end.stdout), pointer)
    return broken(end, limit_s, "the description")


def read_answer(text: bytes) -> dict[str, Json]:
    """The JSON object that a child printed; without NUL characters, which a file may have and PostgreSQL cannot."""
    found: dict[str, Json] = json.loads(NUL.sub(rb"\1\\ufffd", text))
    return found


def refusal_of(document: Mapping[str, Json], pointer: str) -> DatasetInvalid:
    """What the child says of a file that it refuses, as a problem that names the field, the line and the column."""
    message, hint = str(document["message"]), str(document.get("hint") or "")
    if document.get("code") == DiskFull.code:  # not the file's fault
        raise DiskFull(f"{message}. {hint}")
    said: dict[str, Json] = {each: document[each] for each in ("line", "column") if document.get(each) is not None}
    where = ", ".join(f"{what} {value}" for what, value in said.items())
    detail = f"{where}: {message}" if where else message
    joint = ". " if hint[:1].isupper() else "; "
    return DatasetInvalid(
        f"{detail}{joint}{hint}" if hint else detail, fields=[FieldProblem(pointer, detail, hint)], **said
    )


def broken(end: ChildEnd, limit_s: float, what: str) -> Broken:
    """What can be told of a child that ended without a verdict."""
    if end.timed_out:
        how = f"it took longer than {limit_s:g} s"
    else:
        how = f"signal {-end.exit_code}" if end.exit_code < 0 else f"exit code {end.exit_code}"
    last_lines = "\n".join(end.stderr.strip().splitlines()[-10:])
    message = f"{what} ended unexpectedly ({how}): the file may be damaged, or built to do harm; try :retry, or another"
    problem = DescriptionFailed(message, last_lines=last_lines[-2000:]).as_problem()
    return Broken(f"{what} ended with {how}: {last_lines[-500:]}", problem)


def _kept(column: Mapping[str, Json], *, is_wide: bool) -> dict[str, Json]:
    """What of a column is kept in the dataset's row: nothing that is not known, and of many columns no values."""
    return {
        name: value
        for name, value in column.items()
        if value is not None and value != [] and not (is_wide and name in ("min", "max", "mean", "examples"))
    }


def _checked(document: dict[str, Any], pointer: str) -> Description:
    columns = document["columns"]
    if len(columns) > WIDEST:
        detail = f"the data has {len(columns)} columns, a dataset has at most {WIDEST}"
        hint = "put what belongs together into a column with a list"
        raise DatasetInvalid(f"{detail}; {hint}", fields=[FieldProblem(pointer, detail, hint)])
    layout = dict(document["format"])
    return Description(
        format=str(layout["format"]),
        layout=layout,
        rows=int(document["rows"]),
        rows_are_estimated=bool(document["rows_are_estimated"]),
        size_bytes=int(document["size_bytes"]),
        columns=[_kept(each, is_wide=len(columns) > WIDE) for each in columns],
        warnings=list(document.get("warnings") or []),
        preview=dict(document["preview"]),
    )
