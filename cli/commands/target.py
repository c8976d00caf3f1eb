"""Which platform a client verb talks to, and the options and arguments that client verbs share."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.failure import CommandFailed, Exit
from cli.format import Format

if TYPE_CHECKING:
    from cli.client import Platform
    from cli.output import Output

COMPLETION_S = 2.0

ApiOption = Annotated[
    str | None,
    typer.Option(
        "--api", envvar="PORTSIDE_API", metavar="URL", help="The platform to talk to.", show_default="127.0.0.1:8000"
    ),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="PORTSIDE_TOKEN", metavar="TOKEN", help="A bearer token; none is needed on loopback."
    ),
]


def complete_service(context: typer.Context, incomplete: str) -> list[str]:
    """The services whose names begin so."""
    return _complete(context, "/api/v1/services", incomplete)


def complete_model(context: typer.Context, incomplete: str) -> list[str]:
    """The models whose names begin so."""
    return _complete(context, "/api/v1/models", incomplete)


def complete_dataset(context: typer.Context, incomplete: str) -> list[str]:
    """The datasets whose names begin so."""
    return _complete(context, "/api/v1/datasets", incomplete)


def complete_job(context: typer.Context, incomplete: str) -> list[str]:
    """The jobs whose names begin so."""
    return _complete(context, "/api/v1/jobs", incomplete)


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How data is printed.")]
AsJson = Annotated[bool, typer.Option("--json", help="The same as -o json.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="The longest to wait.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most, the newest first.")]
StatusFilter = Annotated[str | None, typer.Option("--status", help="Only those with this status.", show_default=False)]
ServiceName = Annotated[
    str, typer.Argument(metavar="NAME", help="The service.", show_default=False, autocompletion=complete_service)
]
FileOrUrl = Annotated[
    str,
    typer.Argument(
        metavar="FILE|URL",
        help="An ONNX or PMML model, or a zip of some, here or where the platform fetches it.",
        show_default=False,
    ),
]
PartKey = Annotated[
    str | None,
    typer.Option(
        "--part", metavar="KEY", help="Which of several models in the version.", show_default="its default one"
    ),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FIELD=VALUE",
        help="All for which this holds, with the names that lists are filtered by; may be repeated.",
        show_default=False,
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="All for which it can be done.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --where or --all: only say what would become of each.")]


class OnError(StrEnum):
    """What a record that does not fit spoils."""

    FAIL = "fail"
    RECORD = "record"


FormParts = Annotated[
    list[str] | None,
    typer.Option("--form", "-F", metavar="NAME=VALUE | NAME=@FILE", help="One part of a form; may be repeated."),
]
IsCsv = Annotated[bool, typer.Option("--csv", help="The file, or stdin, is CSV whatever its name says.")]
OnErrorOption = Annotated[
    OnError | None,
    typer.Option("--on-error", help="What a bad record spoils: all, or itself.", show_default="fail"),
]
FeatureNames = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="INPUT=NAME,… | @FILE.json",
        help="Names for the places of a vector; may be repeated.",
        show_default=False,
    ),
]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="NAME[@VERSION]",
        help="A model, or one version of it: iris@3, iris@latest, iris@champion (an alias), iris@sha256:…",
        show_default=False,
        autocompletion=complete_model,
    ),
]


@dataclass(frozen=True, slots=True)
class PlatformAddress:
    """Where the platform is and how to be let in; None is the default."""

    api: str | None
    token: str | None


@contextmanager
def connect(context: typer.Context) -> "Iterator[Platform]":
    """A client of the platform that the command line names; who mistypes a name is told the nearest."""
    from cli.client import DEFAULT_API, Platform
    from cli.nearest import with_nearest

    address = cast(PlatformAddress, context.obj)
    with Platform(address.api or DEFAULT_API, address.token) as platform:
        try:
            yield platform
        except CommandFailed as failed:
            raise with_nearest(failed, platform) from failed


def output_of(format: Format = Format.TABLE, as_json: bool = False, quiet: bool = False) -> "Output":
    """Where this command's words go, as its options say."""
    from cli.output import Output

    if as_json and format not in (Format.TABLE, Format.JSON):
        raise typer.BadParameter(f"--json and -o {format} exclude each other", param_hint="--json")
    if format is Format.YAML:
        from cli.yaml_text import to_yaml

        return Output(format, quiet=quiet, dump=to_yaml)
    return Output(Format.JSON if as_json else format, quiet=quiet)


def confirm(question: str, yes: bool) -> None:
    """Go on only when whoever sits at the terminal says so, or has said `--yes` before. Raises `CommandFailed`."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(f"{question} Nobody is there to answer: say --yes.", exit_status=Exit.USAGE)
    typer.confirm(question, abort=True, err=True, prompt_suffix=" ")


def _complete(context: typer.Context, collection: str, incomplete: str) -> list[str]:
    from cli.client import DEFAULT_API, Platform
    from cli.nearest import names_in

    given = context.find_root().params
    try:
        with Platform(given.get("api") or DEFAULT_API, given.get("token"), timeout_s=COMPLETION_S) as platform:
            return names_in(platform, collection, incomplete)
    except CommandFailed:
        return []  # an address that is no URL completes nothing
