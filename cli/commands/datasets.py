"""Verbs about datasets."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.target import Limit, StatusFilter, Yes, complete_dataset, confirm
from cli.commands.verb import Call, client_verb, filters

DatasetName = Annotated[
    str, typer.Argument(metavar="NAME", help="The dataset.", show_default=False, autocompletion=complete_dataset)
]
FilePath = Annotated[str, typer.Argument(metavar="PATH", help="The file's path in the dataset.", show_default=False)]
To = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; - is stdout.", show_default="its name")
]


@client_verb()
def list_(call: Call, status: StatusFilter = None, limit: Limit = 50) -> None:
    """List the datasets."""
    from cli.datasets import list_datasets

    list_datasets(call.platform, filters(status=status), limit, call.output)


@client_verb()
def show(call: Call, name: DatasetName) -> None:
    """Show a dataset: its size, rows and columns."""
    from cli.datasets import show_dataset

    show_dataset(call.platform, name, call.output)


@client_verb(waits_s=3600)
def create(
    call: Call,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE|URL",
            help="CSV, TSV, JSON lines, Parquet or Arrow, plain or packed: here, or https://, s3://, file:// where the "
            "platform reads it.",
            show_default=False,
        ),
    ],
    name: Annotated[str | None, typer.Option("--name", help="Its name.", show_default="from the file's name")] = None,
    format: Annotated[
        str | None, typer.Option("--format", help="csv, tsv, jsonl, parquet or arrow.", show_default="as found")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Of a CSV.", show_default="as found")] = None,
    header: Annotated[
        bool | None, typer.Option("--header/--no-header", help="Whether a CSV names its columns.", show_default=False)
    ] = None,
    reference: Annotated[
        bool, typer.Option("--reference", help="Read a URL whenever it is used, and copy nothing.")
    ] = False,
    files: Annotated[bool, typer.Option("--files", help="A dataset of the files in an archive.")] = False,
) -> None:
    """Make a dataset of a file or a URL, and show what is in it."""
    from cli.datasets import create_dataset
    from cli.deployment import name_from

    said = {"format": format, "delimiter": delimiter, "has_header": header, "reference": reference or None}
    said |= {"kind": "files" if files else None, "name": name or name_from(Path(file.rstrip("/").partition("?")[0]))}
    wish = {key: value for key, value in said.items() if value is not None}
    create_dataset(call.platform, file, wish, call.output, wait_s=call.timeout_s if call.waits else None)


@client_verb()
def preview(
    call: Call,
    name: DatasetName,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, max=500, help="How many.")] = 10,
) -> None:
    """Show the first rows."""
    from cli.datasets import preview

    preview(call.platform, name, rows, call.output)


@client_verb(documents=False)
def download(call: Call, name: DatasetName, file: To = None) -> None:
    """Download the data; what a run wrote in several Parquet files comes as a zip."""
    from cli.datasets import download

    download(call.platform, name, file, call.output)


@client_verb(documents=False)
def delete(call: Call, name: DatasetName, yes: Yes = False) -> None:
    """Delete a dataset; refused while a run reads it."""
    from cli.datasets import delete_dataset

    confirm(f"Delete the dataset {name}?", yes)
    delete_dataset(call.platform, name, call.output)


@client_verb()
def files(
    call: Call,
    name: DatasetName,
    prefix: Annotated[str, typer.Option("--prefix", help="Only paths that begin so.", show_default=False)] = "",
) -> None:
    """List the files of a dataset of files."""
    from cli.datasets import list_files

    list_files(call.platform, name, prefix, call.output)


@client_verb(documents=False)
def put(
    call: Call,
    name: DatasetName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file here.", show_default=False)],
    path: Annotated[
        str | None, typer.Option("--as", metavar="PATH", help="Its path there.", show_default="its name")
    ] = None,
) -> None:
    """Put a file into a dataset of files."""
    from cli.datasets import put_file

    put_file(call.platform, name, file, path, call.output)


@client_verb(documents=False)
def get(call: Call, name: DatasetName, path: FilePath, file: To = None) -> None:
    """Download one file of a dataset of files."""
    from cli.datasets import get_file

    get_file(call.platform, name, path, file, call.output)


@client_verb(documents=False)
def remove(call: Call, name: DatasetName, path: FilePath) -> None:
    """Delete one file of a dataset of files."""
    from cli.datasets import delete_file

    delete_file(call.platform, name, path, call.output)
