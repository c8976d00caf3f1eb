"""Which platform a client verb talks to, and the options that client verbs share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

import typer

from cli.format import Format

if TYPE_CHECKING:
    from cli.client import Platform

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
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
FormatOption = Annotated[Format, typer.Option("--output", "-o", help="How data is printed.")]
Timeout = Annotated[float, typer.Option("--timeout", min=0, metavar="SECONDS", help="The longest to wait.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is done.")]
ServiceName = Annotated[str, typer.Argument(metavar="NAME", help="The service.", show_default=False)]


@dataclass(frozen=True, slots=True)
class PlatformAddress:
    """Where the platform is and how to be let in; None is the default."""

    api: str | None
    token: str | None


def connect(context: typer.Context) -> "Platform":
    """A client of the platform that the command line names."""
    from cli.client import DEFAULT_API, Platform

    address = cast(PlatformAddress, context.obj)
    return Platform(address.api or DEFAULT_API, address.token)
