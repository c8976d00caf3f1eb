"""Verbs about webhook endpoints and what was sent to them."""

from typing import Annotated

import typer

from cli.commands.target import (
    AsJson,
    FormatOption,
    Limit,
    Quiet,
    StatusFilter,
    Timeout,
    Wait,
    Yes,
    confirm,
    connect,
    output_of,
)
from cli.format import Format

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook, whk_….", show_default=False)]


def list_(
    context: typer.Context, output: FormatOption = Format.TABLE, as_json: AsJson = False, quiet: Quiet = False
) -> None:
    """List the webhook endpoints and how they fare."""
    from cli.webhooks import list_webhooks

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        list_webhooks(platform, out)


def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent to.", show_default=False)],
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event", "-e", help="An event type such as service.failed; may be repeated.", show_default="all"
        ),
    ] = None,
    description: Annotated[str | None, typer.Option("--description", show_default=False)] = None,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make an endpoint; only this answer and `rotate-secret` show its signing secret."""
    from cli.webhooks import create_webhook

    out = output_of(output, as_json, quiet)
    wish: dict[str, object] = {"url": url, "events": events or ["*"]}
    if description is not None:
        wish["description"] = description
    with connect(context) as platform:
        create_webhook(platform, wish, out)


def show(
    context: typer.Context,
    webhook: WebhookId,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Show an endpoint, without its secret."""
    from cli.webhooks import show_webhook

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        show_webhook(platform, webhook, out)


def delete(context: typer.Context, webhook: WebhookId, yes: Yes = False, quiet: Quiet = False) -> None:
    """Forget an endpoint; what was still to be delivered to it is not sent."""
    from cli.webhooks import delete_webhook

    confirm(f"Delete the webhook {webhook}?", yes)
    with connect(context) as platform:
        delete_webhook(platform, webhook, output_of(quiet=quiet))


def send_test(
    context: typer.Context,
    webhook: WebhookId,
    wait: Wait = True,
    timeout: Timeout = 30,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Send a test event and say whether the receiver took it."""
    from cli.webhooks import try_webhook

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        try_webhook(platform, webhook, out, wait_s=timeout if wait else 0)


def rotate_secret(
    context: typer.Context,
    webhook: WebhookId,
    yes: Yes = False,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a new signing secret; for a day deliveries are signed with the old one as well."""
    from cli.webhooks import rotate_secret as rotate

    out = output_of(output, as_json, quiet)
    confirm(f"Give the webhook {webhook} a new secret?", yes)
    with connect(context) as platform:
        rotate(platform, webhook, out)


def deliveries(
    context: typer.Context,
    webhook: WebhookId,
    status: StatusFilter = None,
    limit: Limit = 50,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """List what was sent to an endpoint, the newest first."""
    from cli.webhooks import list_deliveries

    out = output_of(output, as_json, quiet)
    with connect(context) as platform:
        list_deliveries(platform, webhook, {"status": status} if status else {}, limit, out)


def redeliver(
    context: typer.Context,
    webhook: WebhookId,
    delivery: Annotated[
        str | None, typer.Argument(metavar="[DELIVERY]", help="One delivery, dlv_….", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="All that failed since: 2h, 1d, or a time.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --since: what arrived, too.")] = False,
    wait: Wait = True,
    timeout: Timeout = 30,
    output: FormatOption = Format.TABLE,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Send one delivery again, or with `--since 2h` all that failed."""
    from cli.webhooks import redeliver_one, redeliver_since

    out = output_of(output, as_json, quiet)
    if (delivery is None) == (since is None):
        raise typer.BadParameter("name one delivery, or say --since 2h", param_hint="DELIVERY")
    with connect(context) as platform:
        if delivery is not None:
            redeliver_one(platform, webhook, delivery, out, wait_s=timeout if wait else 0)
        elif since is not None:
            redeliver_since(platform, webhook, since, out, also_delivered=everything)
