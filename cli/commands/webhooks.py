"""Verbs about webhook endpoints and what was sent to them."""

from typing import Annotated

import typer

from cli.commands.target import Limit, StatusFilter, Yes, confirm
from cli.commands.verb import Call, client_verb, filters

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook, whk_….", show_default=False)]


@client_verb()
def list_(call: Call) -> None:
    """List the webhook endpoints and how they fare."""
    from cli.webhooks import list_webhooks

    list_webhooks(call.platform, call.output)


@client_verb()
def create(
    call: Call,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are sent to.", show_default=False)],
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--event", "-e", help="An event type such as service.failed; may be repeated.", show_default="all"
        ),
    ] = None,
    description: Annotated[str | None, typer.Option("--description", show_default=False)] = None,
) -> None:
    """Make an endpoint; only this answer and `rotate-secret` show its signing secret."""
    from cli.webhooks import create_webhook

    wish: dict[str, object] = {"url": url, "events": events or ["*"]}
    if description is not None:
        wish["description"] = description
    create_webhook(call.platform, wish, call.output)


@client_verb()
def show(call: Call, webhook: WebhookId) -> None:
    """Show an endpoint, without its secret."""
    from cli.webhooks import show_webhook

    show_webhook(call.platform, webhook, call.output)


@client_verb(documents=False)
def delete(call: Call, webhook: WebhookId, yes: Yes = False) -> None:
    """Forget an endpoint; what was still to be delivered to it is not sent."""
    from cli.webhooks import delete_webhook

    confirm(f"Delete the webhook {webhook}?", yes)
    delete_webhook(call.platform, webhook, call.output)


@client_verb(waits_s=30)
def send_test(call: Call, webhook: WebhookId) -> None:
    """Send a test event and say whether the receiver took it."""
    from cli.webhooks import try_webhook

    try_webhook(call.platform, webhook, call.output, wait_s=call.wait_s)


@client_verb()
def rotate_secret(call: Call, webhook: WebhookId, yes: Yes = False) -> None:
    """Make a new signing secret; for a day deliveries are signed with the old one as well."""
    from cli.webhooks import rotate_secret as rotate

    confirm(f"Give the webhook {webhook} a new secret?", yes)
    rotate(call.platform, webhook, call.output)


@client_verb()
def deliveries(call: Call, webhook: WebhookId, status: StatusFilter = None, limit: Limit = 50) -> None:
    """List what was sent to an endpoint, the newest first."""
    from cli.webhooks import list_deliveries

    list_deliveries(call.platform, webhook, filters(status=status), limit, call.output)


@client_verb(waits_s=30)
def redeliver(
    call: Call,
    webhook: WebhookId,
    delivery: Annotated[
        str | None, typer.Argument(metavar="[DELIVERY]", help="One delivery, dlv_….", show_default=False)
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help="All that failed since: 2h, 1d, or a time.", show_default=False),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --since: what arrived, too.")] = False,
) -> None:
    """Send one delivery again, or with `--since 2h` all that failed."""
    from cli.webhooks import redeliver_one, redeliver_since

    if (delivery is None) == (since is None):
        raise typer.BadParameter("name one delivery, or say --since 2h", param_hint="DELIVERY")
    if delivery is not None:
        redeliver_one(call.platform, webhook, delivery, call.output, wait_s=call.wait_s)
    elif since is not None:
        redeliver_since(call.platform, webhook, since, call.output, also_delivered=everything)
