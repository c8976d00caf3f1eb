"""The one panel that `portside up` shows."""

from typing import Protocol

from rich.console import Console
from rich.panel import Panel
from rich.table import Table


class Introduction(Protocol):
    """What the panel tells."""

    @property
    def url(self) -> str: ...
    @property
    def data(self) -> object: ...
    @property
    def token(self) -> str | None: ...
    @property
    def token_file(self) -> object | None: ...
    @property
    def webhooks(self) -> str: ...


def show_panel(started: Introduction, version: str) -> None:
    """Print URL, token, data folder and the next command to stderr, where progress belongs."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("API", f"[bold]{started.url}[/bold]   (OpenAPI: {started.url}/api/v1/openapi.json)")
    if started.token:
        rows.add_row("Token", f"{started.token}   (shown once; kept in {started.token_file})")
        rows.add_row("", f"export PORTSIDE_TOKEN={started.token}")
    elif started.token_file:
        rows.add_row("Token", f"in {started.token_file}")
    rows.add_row("Data", str(started.data))
    rows.add_row("Note", started.webhooks)
    rows.add_row("Client", f"export PORTSIDE_API={started.url}")
    rows.add_row("Next", "portside deploy model.onnx")
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Panel(rows, title=f"Portside {version}", title_align="left", expand=False)
    )
