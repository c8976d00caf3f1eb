"""Where words go: stdout is data that a script may read, stderr is progress that a person watches."""

import json
import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.client import Document
from cli.format import Format


class Output:
    """The two streams of one command. rich leaves colours out where NO_COLOR is set or nobody watches."""

    def __init__(self, format: Format = Format.TABLE, *, quiet: bool = False) -> None:
        self.format, self.quiet = format, quiet
        self.progress = Console(stderr=True, quiet=quiet, highlight=False, soft_wrap=True)

    @property
    def is_json(self) -> bool:
        """Whether a script reads what we print."""
        return self.format is Format.JSON

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line of progress, as it is (no markup)."""
        self.progress.print(text, style=style, markup=False)

    def data(self, text: str) -> None:
        """A line of data."""
        print(text, flush=True)

    def document(self, document: Document | Sequence[Document]) -> None:
        """A document of the API as JSON."""
        self.data(json.dumps(document, ensure_ascii=False, indent=2))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows as data; in a pipe, where nothing wraps, a line is a row."""
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)
        console.print(_table(columns, rows))

    def progress_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows for the person who watches."""
        self.progress.print(_table(columns, rows))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
