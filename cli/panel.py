"""The one panel that `portside up` shows."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the user is told once the platform answers. `token` is there only when it was just made."""

    url: str
    data: Path
    token: str | None
    token_file: Path | None
    webhooks: str


def show_panel(started: Introduction, version: str) -> None:
    """Print URL, token, data folder and the next command to stderr, where progress belongs."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("API", Text(started.url, style="bold"))
    rows.add_row("OpenAPI", Text(f"{started.url}/api/v1/openapi.json"))
    if started.token:
        rows.add_row("Token", Text(f"{started.token}  (shown once; kept in {started.token_file})"))
    elif started.token_file:
        rows.add_row("Token", Text(f"in {started.token_file}"))
    rows.add_row("Data", Text(str(started.data)))
    rows.add_row("Log", Text(str(started.data / "logs" / "portside.log")))
    rows.add_row("Webhooks", Text(started.webhooks.removeprefix("webhooks ")))
    rows.add_row("Clients", Text(f"export PORTSIDE_API={started.url}"))
    if started.token:
        rows.add_row("", Text(f"export PORTSIDE_TOKEN={started.token}"))
    rows.add_row("Next", Text("portside deploy model.onnx"))
    console = Console(stderr=True, highlight=False)
    console.print(Panel(rows, title=f"Portside {version}", title_align="left", expand=False))
