"""The options of `portside jobs create` that only a script has."""

from pathlib import Path
from typing import Annotated

import typer

Script = Annotated[
    Path | None,
    typer.Option("--script", metavar="FILE", help="Runs this Python file, or archive.", show_default=False),
]
Entry = Annotated[
    str | None, typer.Option("--entry", metavar="PATH", help="What of an archive is started.", show_default="main.py")
]
Requirements = Annotated[
    Path | None,
    typer.Option("--requirements", metavar="FILE", help="What the script needs installed.", show_default=False),
]
Reads = Annotated[
    list[str] | None,
    typer.Option(
        "--read", metavar="NAME=DATASET", help="A dataset that it reads; may be repeated.", show_default=False
    ),
]
ReadsModels = Annotated[
    list[str] | None,
    typer.Option(
        "--read-model", metavar="NAME=MODEL", help="A model's file that it reads; may be repeated.", show_default=False
    ),
]
Registers = Annotated[
    list[str] | None,
    typer.Option(
        "--register",
        metavar="PATH=MODEL[@ALIAS]",
        help="A file it leaves that becomes a version; may be repeated.",
        show_default=False,
    ),
]
Keeps = Annotated[
    list[str] | None,
    typer.Option(
        "--keep", metavar="PATH=DATASET", help="A file it leaves that becomes a dataset; may be repeated.",
        show_default=False,
    ),
]  # fmt: skip
