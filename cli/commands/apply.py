"""The verb that makes a platform as a file or a folder says."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.target import Yes, confirm
from cli.commands.verb import Call, client_verb


@client_verb(waits_s=300)
def apply(
    call: Call,
    source: Annotated[
        Path,
        typer.Option("--file", "-f", metavar="FILE|DIR", help="YAML, or a folder of it.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete what an earlier apply made and nothing declares any more.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Make a platform as YAML documents say: show the difference, then do it. Again it changes nothing.

    A document is `kind: model`, `dataset`, `service` or `job` with a name and what it is to be; what it does not say is
    left as it is. See docs/how-to/keep-services-in-git.md.
    """
    from cli.apply.documents import read_documents
    from cli.apply.plan import make_plan
    from cli.apply.steps import carry_out, show_plan

    declared = read_documents(source)
    changes = make_plan(call.platform, declared, prune=prune)
    show_plan(changes, call.output, dry_run=dry_run)
    if dry_run:
        return
    gone = [f"{change.kind} {change.name}" for change in changes if change.action == "delete"]
    if gone:
        confirm(f"Delete {', '.join(gone)}?", yes)
    carry_out(changes, call.platform, call.output, waits=call.waits, timeout_s=call.timeout_s)
