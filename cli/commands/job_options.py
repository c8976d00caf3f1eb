"""The options and arguments that verbs about jobs share."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.target import complete_dataset, complete_job, complete_model

JobName = Annotated[
    str, typer.Argument(metavar="NAME", help="The job.", show_default=False, autocompletion=complete_job)
]
Env = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="A variable; may be repeated.", show_default=False),
]
Args = Annotated[list[str] | None, typer.Option("--arg", help="An argument; may be repeated.", show_default=False)]
NewJobName = Annotated[str | None, typer.Argument(metavar="NAME", help="Its name.", show_default="what the file says")]
JobFile = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="The job as YAML or JSON; options win.", show_default=False),
]
Scorer = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME[@VERSION]",
        help="What scores.",
        show_default=False,
        autocompletion=complete_model,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="DATASET|URL",
        help="What is scored.",
        show_default=False,
        autocompletion=complete_dataset,
    ),
]
Into = Annotated[str | None, typer.Option("--into", help="The dataset that a run makes.", show_default="{job}-{run}")]
DataFormat = Annotated[
    str | None, typer.Option("--format", help="csv, jsonl, parquet or arrow.", show_default="that of the input")
]
PassThrough = Annotated[
    list[str] | None,
    typer.Option(
        "--pass", metavar="COLUMN", help="A column that is copied; may be repeated; `*` is all.", show_default=False
    ),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="INPUT=COLUMN", help="What feeds an input; may be repeated.", show_default="the same names"
    ),
]
OnError = Annotated[
    str | None,
    typer.Option(
        "--on-error",
        metavar="skip|fail|N",
        help="Bad rows: left out, the end of the run, or left out up to N.",
        show_default="skip",
    ),
]
Parallelism = Annotated[int | None, typer.Option("--parallelism", min=1, help="Chunks at a time.", show_default="1")]
After = Annotated[
    str | None,
    typer.Option(
        "--after", metavar="JOB", help="Run when that has succeeded.", show_default=False, autocompletion=complete_job
    ),
]
To = Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to.", show_default="stdout")]
