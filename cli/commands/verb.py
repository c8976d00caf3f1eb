"""What nearly every client verb has in common, said once: its last options, and what they make ready for its body."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Annotated, Concatenate, ParamSpec, cast

import typer

from cli.commands.target import (
    AsJson,
    DryRun,
    Everything,
    FormatOption,
    Quiet,
    Timeout,
    Wait,
    Where,
    connect,
    output_of,
)
from cli.format import Format

if TYPE_CHECKING:
    from cli.client import Platform
    from cli.output import Output

Own = ParamSpec("Own")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a verb: the platform, where words go, whether it waits until it is done, and for how long."""

    platform: "Platform"
    output: "Output"
    waits: bool
    timeout_s: float

    @property
    def wait_s(self) -> float:
        """The longest to wait; 0 is not at all."""
        return self.timeout_s if self.waits else 0


def client_verb(
    *,
    documents: bool = True,
    waits_s: float | None = None,
    always_waits: bool = False,
    for_many: str | None = None,
) -> Callable[[Callable[Concatenate[Call, Own], None]], Callable[..., None]]:
    """A verb whose body takes a `Call` and its own arguments and options; typer sees the common options behind them.

    With `documents` it prints as `-o` says. With `waits_s` it waits so long, unless the command line says otherwise;
    waiting is all that a verb does which `always_waits`. With `for_many`, the API's verb for a filter, the body's first
    argument may be left out for `--where` or `--all`, and then the body is not called.
    """
    common = _common_options(documents, waits_s, always_waits)

    def declare(body: Callable[Concatenate[Call, Own], None]) -> Callable[..., None]:
        @wraps(body)
        def verb(
            context: typer.Context,
            output: Format = Format.TABLE,
            as_json: bool = False,
            quiet: bool = False,
            wait: bool = True,
            timeout: float = 0,
            many_where: list[str] | None = None,
            many_all: bool = False,
            many_dry_run: bool = False,
            *arguments: Own.args,
            **options: Own.kwargs,
        ) -> None:
            out = output_of(output, as_json, quiet)
            with connect(context) as platform:
                call = Call(platform, out, wait, timeout)
                named = cast(str | None, options.get(own[0].name)) if own else None
                if not (for_many and _is_done(call, for_many, named, many_where or [], many_all, many_dry_run)):
                    body(call, *arguments, **options)

        _, *own = signature(body).parameters.values()
        declared = [_option("context", typer.Context, Parameter.empty), *(_or_many(own) if for_many else own), *common]
        keywords = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in declared]
        verb.__signature__ = signature(body).replace(parameters=keywords)  # type: ignore[attr-defined]
        return verb

    return declare


def filters(**wanted: str | None) -> dict[str, str]:
    """What a list is narrowed down to: the options that were given."""
    return {name: value for name, value in wanted.items() if value}


def _common_options(documents: bool, waits_s: float | None, always_waits: bool) -> list[Parameter]:
    choice = [] if waits_s is None or always_waits else [_option("wait", Wait, True)]
    patience = [] if waits_s is None else [_option("timeout", Timeout, waits_s)]
    formats = [_option("output", FormatOption, Format.TABLE), _option("as_json", AsJson, False)] if documents else []
    return [*choice, *patience, *formats, _option("quiet", Quiet, False)]


def _or_many(own: Sequence[Parameter]) -> list[Parameter]:
    """One thing may be named, or many be chosen."""
    first, *others = own
    named = first.replace(annotation=Annotated[str | None, *first.annotation.__metadata__], default=None)
    many = [
        _option("many_where", Where, None),
        _option("many_all", Everything, False),
        _option("many_dry_run", DryRun, False),
    ]
    return [named, *others, *many]


def _is_done(call: Call, verb: str, named: str | None, where: Sequence[str], everything: bool, dry_run: bool) -> bool:
    """Whether the options mean many; then it is done for them. Raises `CommandFailed`."""
    from cli.many import do_many, read_filter

    chosen = read_filter(named, where, everything=everything, dry_run=dry_run)
    if chosen:
        do_many(call.platform, verb, chosen, call.output, dry_run=dry_run, wait_s=call.wait_s)
    return bool(chosen)


def _option(name: str, annotation: object, default: object) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
