"""Datasets as a client: made of a file or a URL, shown with their columns, looked into, downloaded; files of one."""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.operations import operation_of, wait_for
from cli.output import Columns, Output
from cli.transfer import bytes_watched
from cli.upload import UPLOAD_TIMEOUT_S, check_file, size_in_words
from cli.words import age_in_words
from portside.messages import Answer
from portside.sources import FileSource, Watch

DATASETS = "/api/v1/datasets"
ENDING = re.compile(r"filename=\"[^\"]*?((?:\.(?:csv|tsv|jsonl|parquet|arrow|zip))(?:\.(?:gz|zst))?)\"")
REMOTE = ("https://", "http://", "s3://", "file://")
CELL_SHOWN, COLUMNS_SHOWN = 40, 40
STDOUT = Path("-")
DATA_FILE = "a CSV, TSV, JSON lines, Parquet or Arrow file, or a URL"
LISTED: Columns = {
    "name": lambda dataset: str(dataset["name"]),
    "status": lambda dataset: str(dataset["status"]),
    "format": lambda dataset: "files" if dataset["kind"] == "files" else str(dataset["format"] or ""),
    "rows": lambda dataset: rows_in_words(dataset),
    "size": lambda dataset: "" if dataset["size_bytes"] is None else size_in_words(dataset["size_bytes"]),
    "age": lambda dataset: age_in_words(dataset["created_at"]),
}
COLUMNS: Columns = {
    "column": lambda column: str(column["name"]),
    "type": lambda column: str(column["type"]),
    "nulls": lambda column: _count(column.get("nulls")),
    "invalid": lambda column: _count(column.get("invalid")),
    "min": lambda column: _cell(column.get("min")),
    "max": lambda column: _cell(column.get("max")),
    "examples": lambda column: ", ".join(_cell(each) for each in column["examples"][:3]),
}
FILES: Columns = {
    "path": lambda file: str(file["path"]),
    "size": lambda file: size_in_words(file["size_bytes"]),
    "type": lambda file: str(file["content_type"]),
}


def list_datasets(platform: Platform, filters: Mapping[str, str], limit: int, output: Output) -> None:
    """The newest datasets."""
    found = platform.items(DATASETS, page_size=min(limit + 1, 500), **filters)
    output.rows(
        output.newest(found, limit), LISTED, "No datasets yet: make one with `portside datasets create data.csv`."
    )


def show_dataset(platform: Platform, name: str, output: Output) -> None:
    """One dataset and its columns. Raises `CommandFailed`."""
    tell_dataset(platform.get(dataset_path(name)), output)


def create_dataset(
    platform: Platform, given: str, said: Mapping[str, object], output: Output, *, wait_s: float | None
) -> Document:
    """Make a dataset of a file here or of a URL that the platform reads, and show it once it is ready.

    Raises `CommandFailed`.
    """
    made = make_dataset(platform, given, said, output, wait_s=wait_s)
    tell_dataset(made, output)
    return made


def make_dataset(
    platform: Platform, given: str, said: Mapping[str, object], output: Output, *, wait_s: float | None
) -> Document:
    """The same, without showing it; without `wait_s` as it is at once."""
    is_remote = given.lower().startswith(REMOTE)
    answer = (
        platform.call("POST", DATASETS, {**said, "source_uri": given})
        if is_remote
        else _sent(platform, _new(platform, given, said), said, output)
    )
    if wait_s is not None:
        wait_for(platform, operation_of(platform, answer), wait_s, output)
    return platform.get(dataset_path(str(said["name"])))


def _new(platform: Platform, given: str, said: Mapping[str, object]) -> Path:
    """The file to send. Raises `CommandFailed`, also for a name that is taken: not after gigabytes were sent."""
    file = check_file(Path(given), DATA_FILE)
    name = str(said["name"])
    if platform.find(dataset_path(name)) is not None:
        raise CommandFailed(
            f"a dataset named '{name}' exists; nothing was sent.",
            details=[f"next: say another --name, or: portside datasets delete {name}"],
            exit_status=Exit.CONFLICT,
        )
    return file


def _sent(platform: Platform, file: Path, said: Mapping[str, object], output: Output) -> Answer:
    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": f"attachment; filename*=utf-8''{quote(file.name, safe='')}",
    }
    query = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in said.items()}
    size_bytes = file.stat().st_size
    headers["content-length"] = str(size_bytes)
    with bytes_watched("upload", size_bytes, output) as watch:
        return platform.send(
            "POST", DATASETS, FileSource(file, watch), query=query, headers=headers, timeout_s=UPLOAD_TIMEOUT_S
        )


def tell_dataset(dataset: Document, output: Output) -> None:
    """How a dataset is, then its columns."""
    reason = f" ({dataset['reason']}: {dataset['message'] or ''})" if dataset.get("reason") else ""
    size = "" if dataset["size_bytes"] is None else size_in_words(dataset["size_bytes"])
    facts = {
        "dataset": str(dataset["name"]),
        "status": f"{dataset['status']}{reason}",
        "format": _format(dataset),
        "rows": rows_in_words(dataset),
        "files": _count(dataset["files"]),
        "size": size,
        "from": str(dataset["source_uri"] or dataset["filename"] or ""),
        "warnings": "; ".join(str(each) for each in dataset["warnings"]),
        "url": str(dataset["url"]),
    }
    output.sheet(dataset, facts)
    if dataset["columns"] and not output.is_for_scripts:
        output.data("")
        told = dataset["columns"][:COLUMNS_SHOWN]
        output.table(list(COLUMNS), [[tell(column) for tell in COLUMNS.values()] for column in told])
        if dataset["column_count"] > len(told):
            output.say(f"{len(told)} of {dataset['column_count']} columns; all: {dataset['urls']['columns']}")


def preview(platform: Platform, name: str, rows: int, output: Output) -> None:
    """The first rows as a table. Raises `CommandFailed`."""
    found = platform.get(f"{dataset_path(name)}/preview", rows=rows)
    if output.is_for_scripts:
        output.document(found)
        return
    names = [str(each["name"]) if isinstance(each, Mapping) else str(each) for each in found["columns"]]
    cells = [[_cell(value) for value in row] for row in found["rows"]]
    shown = output.fitting(names, cells)
    output.table(names[:shown], [row[:shown] for row in cells])
    if shown < len(names):
        output.say(f"{shown} of {len(names)} columns fit; -o json has all.")
    total = found["total_rows"]
    if not found["rows"]:
        output.say("It has no rows.")
    elif total is not None and total > len(found["rows"]):
        output.say(f"{len(found['rows'])} of {total:,} rows.")


def download(platform: Platform, name: str, to: Path | None, output: Output) -> None:
    """Its data into a file, whole or not at all; prints the file. Raises `CommandFailed`."""
    write_content(platform, f"{dataset_path(name)}/content", name, to, output)


def write_content(platform: Platform, path: str, named: str, to: Path | None, output: Output) -> None:
    """What the path gives, into a file, or into one named so with the ending that fits; `-` is stdout. Prints which.

    Raises `CommandFailed`.
    """
    with platform.receive(path) as (headers, pieces):
        file = to or not_here(Path(named + _ending(headers)))
        with bytes_watched("download", int(headers["content-length"]), output) as advance:
            if file == STDOUT:
                for piece in pieces:
                    sys.stdout.buffer.write(piece)
                    advance(len(piece))
                sys.stdout.buffer.flush()
            else:
                _write(file, pieces, advance)
    if file != STDOUT:
        output.data(str(file))


def not_here(file: Path) -> Path:
    """A file that nobody has named. Raises `CommandFailed` where it would take the place of another."""
    if file.exists():
        raise CommandFailed(f"{file} is here already: say where to with -o FILE.", exit_status=Exit.USAGE)
    return file


def _write(file: Path, pieces: Iterator[bytes], advance: Watch) -> None:
    """Beside its place first, so that a file that is there stays until the new one is whole."""
    beside = file.with_name(f"{file.name}.partial")
    try:
        with beside.open("wb") as handle:
            for piece in pieces:
                handle.write(piece)
                advance(len(piece))
        beside.replace(file)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written ({error.strerror}).", exit_status=Exit.USAGE) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _ending(headers: Mapping[str, str]) -> str:
    """What the platform would call the file ends so: several Parquet files come as a zip."""
    found = ENDING.search(headers.get("content-disposition", ""))
    return "" if found is None else found.group(1)


def delete_dataset(platform: Platform, name: str, output: Output) -> None:
    """Delete a dataset. Raises `CommandFailed` while a run reads it."""
    platform.call("DELETE", dataset_path(name))
    output.say(f"The dataset {name} is deleted.")


def list_files(platform: Platform, name: str, prefix: str, output: Output) -> None:
    """The files of a dataset of files, in the order of their paths. Raises `CommandFailed`."""
    query = {"prefix": prefix} if prefix else {}
    found = list(platform.items(f"{dataset_path(name)}/files", page_size=500, **query))
    output.rows(found, FILES, "It has no files yet: `portside datasets put NAME FILE` puts one.")


def put_file(platform: Platform, name: str, file: Path, path: str | None, output: Output) -> None:
    """Put a file under its path. Raises `CommandFailed`."""
    checked = check_file(file, "a file")
    where = file_path(name, path or checked.name)
    size_bytes = checked.stat().st_size
    headers = {"content-type": "application/octet-stream", "content-length": str(size_bytes)}
    with bytes_watched("upload", size_bytes, output) as watch:
        platform.send("PUT", where, FileSource(checked, watch), headers=headers, timeout_s=UPLOAD_TIMEOUT_S)
    output.say(f"{path or checked.name}, {size_in_words(size_bytes)}")


def get_file(platform: Platform, name: str, path: str, to: Path | None, output: Output) -> None:
    """One of its files, into this one. Raises `CommandFailed`."""
    file = to or not_here(Path(Path(path).name))
    write_content(platform, file_path(name, path), "", file, output)


def delete_file(platform: Platform, name: str, path: str, output: Output) -> None:
    """Delete one of its files. Raises `CommandFailed`."""
    platform.call("DELETE", file_path(name, path))
    output.say(f"{path} is deleted.")


def dataset_path(name: str) -> str:
    """A dataset's resource."""
    return f"{DATASETS}/{quote(name, safe='')}"


def file_path(name: str, path: str) -> str:
    """A file's resource."""
    return f"{dataset_path(name)}/files/{quote(path)}"


def rows_in_words(dataset: Document) -> str:
    """`1,000,000`, or `about 1,000,000` where they were not counted."""
    if dataset["rows"] is None:
        return ""
    return f"{'about ' if dataset['rows_are_estimated'] else ''}{dataset['rows']:,}"


def _format(dataset: Document) -> str:
    layout = dataset["layout"] or {}
    said = [str(dataset["format"] or ""), str(layout.get("compression") or "")]
    if dataset["format"] == "csv" and layout:
        said += [f"delimiter {layout.get('delimiter')!r}", str(layout.get("encoding") or "")]
    return ", ".join(each for each in said if each)


def _count(number: object) -> str:
    return "" if number is None else f"{number:,}"


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= CELL_SHOWN else f"{text[: CELL_SHOWN - 1]}…"
