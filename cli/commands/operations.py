"""Verbs about operations: the units of the platform's own work."""

from typing import Annotated

import typer

from cli.commands.target import Limit, StatusFilter
from cli.commands.verb import Call, client_verb, filters

OperationId = Annotated[str, typer.Argument(metavar="ID", help="The operation, op_….", show_default=False)]


@client_verb()
def list_(
    call: Call,
    status: StatusFilter = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only this kind, such as service.deploy.", show_default=False)
    ] = None,
    target: Annotated[
        str | None, typer.Option("--of", metavar="NAME", help="Only those of this resource.", show_default=False)
    ] = None,
    limit: Limit = 50,
) -> None:
    """List the operations, the newest first."""
    from cli.operations import list_operations

    wanted = filters(status=status, kind=kind, target_name=target)
    list_operations(call.platform, wanted, limit, call.output)


@client_verb()
def show(call: Call, operation: OperationId) -> None:
    """Show how an operation is, and why."""
    from cli.operations import show_operation

    show_operation(call.platform, operation, call.output)


@client_verb(waits_s=180, always_waits=True)
def wait(call: Call, operation: OperationId) -> None:
    """Wait for an operation; the exit status is as it ends, 124 when the time is over."""
    from cli.operations import await_operation

    await_operation(call.platform, operation, call.timeout_s, call.output)


@client_verb(for_many="operations:cancel")
def cancel(call: Call, operation: OperationId) -> None:
    """Ask an operation to stop; one that has ended stays as it is. `--where status=queued` asks many."""
    from cli.operations import cancel_operation

    cancel_operation(call.platform, operation, call.output)


@client_verb(waits_s=180, for_many="operations:retry")
def retry(call: Call, operation: OperationId) -> None:
    """Try a failed operation again, or with `--where kind=version.inspect` all failed ones of that kind."""
    from cli.operations import retry_operation

    retry_operation(call.platform, operation, call.output, wait_s=call.wait_s)
