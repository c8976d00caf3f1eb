"""The one panel that `portside up` shows."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the user is told once the platform answers. `token` is there only when it was just made, `log` only when it
    is a file."""

    url: str
    data: Path
    log: Path | None
    token: str | None
    token_file: Path | None
    webhooks: str
    grpc: str | None = None


def path_in_words(path: Path) -> str:
    """The path as a shell takes it, short where it lies in the home folder: a frame breaks what does not fit."""
    with suppress(RuntimeError):  # there is no home
        if path.is_relative_to(Path.home()):
            return f"~/{path.relative_to(Path.home())}"
    return str(path)


def show_panel(started: Introduction, version: str) -> None:
    """Print where everything is to stderr, where progress belongs, and then the lines that are there to be copied."""
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column(overflow="fold")
    rows.add_row("API", Text(started.url, style="bold"))
    rows.add_row("OpenAPI", Text(f"{started.url}/api/v1/openapi.json"))
    if started.grpc:
        rows.add_row("gRPC", Text(started.grpc))
    if started.token_file:
        rows.add_row("Token", Text(f"in {path_in_words(started.token_file)}"))
    rows.add_row("Data", Text(path_in_words(started.data)))
    if started.log:
        rows.add_row("Log", Text(path_in_words(started.log)))
    rows.add_row("Webhooks", Text(started.webhooks))
    console = Console(stderr=True, highlight=False)
    console.print(Panel(rows, title=f"Portside {version}", title_align="left", expand=False))
    # Outside the frame and never wrapped: a line is copied as a whole.
    console.print(Text(f"  export PORTSIDE_API={started.url}"), soft_wrap=True)
    if started.token:
        console.print(Text(f"  export PORTSIDE_TOKEN={started.token}    # shown only now"), soft_wrap=True)
    console.print(Text("  portside deploy model.onnx"), soft_wrap=True)
