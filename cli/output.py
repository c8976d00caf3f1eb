"""Where words go: stdout is data that a script may read, stderr is progress that a person watches."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.client import Document
from cli.format import Format

GAP = 3  # between two columns
# What stands in a column, told of a document.
Columns: TypeAlias = Mapping[str, Callable[[Document], str]]


def to_json(document: object) -> str:
    """The document as JSON that people can read, too."""
    return json.dumps(document, ensure_ascii=False, indent=2)


class Output:
    """The two streams of one command. rich leaves colours out where NO_COLOR is set or nobody watches."""

    def __init__(
        self, format: Format = Format.TABLE, *, quiet: bool = False, dump: Callable[[object], str] = to_json
    ) -> None:
        self.format, self.quiet, self.dump = format, quiet, dump
        self.progress = Console(stderr=True, quiet=quiet, highlight=False, emoji=False, soft_wrap=True)

    @property
    def is_for_scripts(self) -> bool:
        """Whether a script reads what we print, so that a document is printed as it is."""
        return self.format is not Format.TABLE

    @property
    def is_watched(self) -> bool:
        """Whether somebody looks at a terminal and wants to see progress."""
        return self.progress.is_terminal and not self.quiet

    def say(self, text: str, *, style: str | None = None) -> None:
        """A line of progress, as it is (no markup)."""
        self.progress.print(text, style=style, markup=False)

    def data(self, text: str) -> None:
        """A line of data."""
        print(text, flush=True)

    def document(self, document: Document | Sequence[Document]) -> None:
        """A document of the API as JSON or YAML, or the name of each."""
        if self.format is not Format.NAME:
            self.data(self.dump(document))
            return
        for each in [document] if isinstance(document, Mapping) else document:
            self.data(name_of(each) or self.dump(each))

    def rows(self, documents: Sequence[Document], columns: Columns, nothing: str) -> None:
        """Documents as rows of a table, or as they are for a script; `nothing` is said where there are none."""
        if self.is_for_scripts:
            self.document(documents)
        elif documents:
            self.table(list(columns), [[tell(each) for tell in columns.values()] for each in documents])
        else:
            self.say(nothing)

    def sheet(self, document: Document, facts: Mapping[str, str]) -> None:
        """One document as a line for each fact that there is, or as it is for a script."""
        if self.is_for_scripts:
            self.document(document)
            return
        widest = max(map(len, facts))
        for name, fact in facts.items():
            if fact:
                self.data(f"{name:<{widest}}  {fact}")

    def newest(self, documents: Iterable[Document], limit: int) -> list[Document]:
        """The first `limit` of a list, and a word where there are more."""
        found = list(islice(documents, limit + 1))
        if len(found) > limit:
            self.say(f"Only the newest {limit}: --limit shows more.")
        return found[:limit]

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows as data; in a pipe, where nothing wraps, a line is a row."""
        console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 1000)
        console.print(_table(columns, rows))

    def fitting(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
        """How many of the columns a terminal has room for, one at least; a pipe has room for all."""
        if not sys.stdout.isatty():
            return len(columns)
        left = Console().width + GAP
        for shown, cells in enumerate(zip(columns, *rows, strict=True)):
            left -= max(map(cell_len, cells)) + GAP
            if left < 0:
                return max(1, shown)
        return len(columns)

    def progress_table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows for the person who watches."""
        self.progress.print(_table(columns, rows))


def name_of(document: Document) -> str:
    """What other verbs call it: a name, a version as `model@3`, a run as `job/7`, or an id."""
    name = document.get("name") or document.get("id") or ""
    if str(name).startswith("ver_"):
        return f"{document['model']}@{document['version']}"
    if str(document.get("id") or "").startswith("run_"):
        return f"{document['job']}/{document['number']}"
    return str(name)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
