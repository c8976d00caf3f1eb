"""Verbs about durable predictions; `portside predict` asks for an immediate one."""

from typing import Annotated

import typer

from cli.commands.target import (
    FormParts,
    IsCsv,
    Limit,
    OnErrorOption,
    PartKey,
    ServiceName,
    StatusFilter,
    complete_service,
)
from cli.commands.verb import Call, client_verb, filters

PredictionId = Annotated[str, typer.Argument(metavar="ID", help="The prediction, prd_….", show_default=False)]


@client_verb()
def list_(
    call: Call,
    status: StatusFilter = None,
    service: Annotated[
        str | None,
        typer.Option(
            "--service", help="Only those of this service.", show_default=False, autocompletion=complete_service
        ),
    ] = None,
    limit: Limit = 50,
) -> None:
    """List the predictions, the newest first."""
    from cli.submissions import list_predictions

    wanted = filters(status=status, service=service)
    list_predictions(call.platform, wanted, limit, call.output)


@client_verb()
def show(call: Call, prediction: PredictionId) -> None:
    """Show a prediction with its answer."""
    from cli.submissions import show_prediction

    show_prediction(call.platform, prediction, call.output)


@client_verb(waits_s=60)
def create(
    call: Call,
    name: ServiceName,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="@FILE.json | @FILE.csv | - | NAME=VALUE…", help="The input.", show_default="the model's own sample"
        ),
    ] = None,
    values: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="NAME=VALUE", help="One value of the record.")
    ] = None,
    fields: FormParts = None,
    csv: IsCsv = False,
    on_error: OnErrorOption = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Who is told of it.", show_default=False)
    ] = None,
    part: PartKey = None,
) -> None:
    """Submit a prediction that outlives every process, and wait for its answer; the input is as for `predict`."""
    from cli.questions import read_question
    from cli.submissions import Wish, submit

    asked = read_question([*(given or []), *(values or [])], fields or [], is_csv=csv)
    submit(call.platform, name, Wish(asked, webhook, part, on_error), call.output, wait_s=call.wait_s)


@client_verb(waits_s=60, always_waits=True)
def wait(call: Call, prediction: PredictionId) -> None:
    """Wait for a prediction; the exit status is as it ends, 124 when the time is over."""
    from cli.submissions import await_prediction

    await_prediction(call.platform, prediction, call.timeout_s, call.output)


@client_verb(for_many="predictions:cancel")
def cancel(call: Call, prediction: PredictionId) -> None:
    """Stop a prediction; one that has ended stays as it is. `--where service=iris` stops all of that service."""
    from cli.submissions import cancel_prediction

    cancel_prediction(call.platform, prediction, call.output)
