"""Verbs about operations: the units of the platform's own work."""

from typing import Annotated

import typer

from cli.commands.target import AsJson, FormatOption, Limit, Quiet, StatusFilter, Timeout, Wait, connect, output_of
from cli.format import Format

OperationId = Annotated[str, typer.Argument(metavar="ID", help="The operation, op_….", show_default=False)]


def list_(
    context: typer.Context,
    status: StatusFilter = None,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only this kind, such as service.deploy.", show_default=False)
    ] = None,
    target: Annotated[
        str | None, typer.Option("--of", metavar="NAME", help="Only those of this resource.", show_default=False)
    ] = None,
    limit: Limit = 50,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List the operations, the newest first."""
    from cli.operations import list_operations

    out = output_of(output, as_json, quiet)
    wanted = {"status": status, "kind": kind, "target_name": target}
    with connect(context) as platform:
        list_operations(platform, {name: value for name, value in wanted.items() if value}, limit, out)


def show(
    context: typer.Context,
    operation: OperationId,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show how an operation is, and why."""
    from cli.operations import show_operation

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_operation(platform, operation, out)


def wait(
    context: typer.Context,
    operation: OperationId,
    timeout: Timeout = 180,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Wait for an operation; the exit status is as it ends, 124 when the time is over."""
    from cli.operations import await_operation

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        await_operation(platform, operation, timeout, out)


def cancel(
    context: typer.Context,
    operation: OperationId,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Ask an operation to stop; one that has ended stays as it is."""
    from cli.operations import cancel_operation

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        cancel_operation(platform, operation, out)


def retry(
    context: typer.Context,
    operation: OperationId,
    wait: Wait = True,
    timeout: Timeout = 180,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Try a failed operation again."""
    from cli.operations import retry_operation

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        retry_operation(platform, operation, out, wait_s=timeout if wait else 0)
