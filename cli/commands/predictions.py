"""Verbs about durable predictions; `portside predict` asks for an immediate one."""

from typing import Annotated

import typer

from cli.commands.target import (
    AsJson,
    FormatOption,
    Limit,
    Quiet,
    ServiceName,
    StatusFilter,
    Timeout,
    Wait,
    complete_service,
    connect,
    output_of,
)
from cli.format import Format

PredictionId = Annotated[str, typer.Argument(metavar="ID", help="The prediction, prd_….", show_default=False)]


def list_(
    context: typer.Context,
    status: StatusFilter = None,
    service: Annotated[
        str | None,
        typer.Option(
            "--service", help="Only those of this service.", show_default=False, autocompletion=complete_service
        ),
    ] = None,
    limit: Limit = 50,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List the predictions, the newest first."""
    from cli.submissions import list_predictions

    out = output_of(output, as_json, quiet)
    wanted = {"status": status, "service": service}
    with connect(context) as platform:
        list_predictions(platform, {name: value for name, value in wanted.items() if value}, limit, out)


def show(
    context: typer.Context,
    prediction: PredictionId,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show a prediction with its answer."""
    from cli.submissions import show_prediction

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_prediction(platform, prediction, out)


def create(
    context: typer.Context,
    name: ServiceName,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="@FILE.json | - | NAME=VALUE…", help="The input.", show_default="the model's own sample"
        ),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="One value of the record.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Who is told of it.", show_default=False)
    ] = None,
    wait: Wait = True,
    timeout: Timeout = 60,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Submit a prediction that outlives every process, and wait for its answer; the input is as for `predict`."""
    from cli.submissions import submit

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        submit(platform, name, [*(given or []), *(values or [])], webhook, out, wait_s=timeout if wait else 0)


def wait(
    context: typer.Context,
    prediction: PredictionId,
    timeout: Timeout = 60,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Wait for a prediction; the exit status is as it ends, 124 when the time is over."""
    from cli.submissions import await_prediction

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        await_prediction(platform, prediction, timeout, out)


def cancel(
    context: typer.Context,
    prediction: PredictionId,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Stop a prediction; one that has ended stays as it is."""
    from cli.submissions import cancel_prediction

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        cancel_prediction(platform, prediction, out)
