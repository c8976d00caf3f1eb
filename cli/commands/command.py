"""Commands as typer makes them, without what it loads for them: Rich's Markdown for help, Pydantic for values."""

import os
from typing import TYPE_CHECKING

import typer
from typer.core import TyperCommand, TyperGroup

from cli.commands.values import read_plainly

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter, Parameter

# One line of a help page: what it is called, what it is.
Row = tuple[str, str]


class Verb(TyperCommand):
    """One verb."""

    def get_params(self, ctx: "Context") -> list["Parameter"]:
        params = super().get_params(ctx)
        read_plainly(params)
        return params

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        _write(formatter, _of_parameters(self, ctx))


class Group(TyperGroup):
    """Verbs with a name in common, on their help page under the headings of their `rich_help_panel`."""

    def get_params(self, ctx: "Context") -> list["Parameter"]:
        params = super().get_params(ctx)
        read_plainly(params)
        return params

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        _write(formatter, {**_of_parameters(self, ctx), **self._of_verbs()})

    def _of_verbs(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for name, verb in self.commands.items():
            if not verb.hidden:
                heading = getattr(verb, "rich_help_panel", None) or "Commands"
                summary = (verb.help or "").partition("\n\n")[0]
                found.setdefault(heading, []).append((name, summary))
        return found


def _of_parameters(command: "Command", ctx: "Context") -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for param in command.get_params(ctx):
        if row := param.get_help_record(ctx):
            found.setdefault(f"{param.param_type_name}s".capitalize(), []).append(row)
    return found


def _write(formatter: "HelpFormatter", sections: dict[str, list[Row]]) -> None:
    """Where nobody watches, typer takes the colours out again."""
    is_plain = bool(os.environ.get("NO_COLOR"))
    for heading, rows in sections.items():
        with formatter.section(heading if is_plain else typer.style(heading, bold=True)):
            formatter.write_dl([(name if is_plain else typer.style(name, fg="cyan"), what) for name, what in rows])
