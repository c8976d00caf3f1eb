"""The reference pages that are made from the code: written, or checked against what lies there."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from api.app import openapi_document
from cli.catalogue import PARTS, figures
from cli.embedded import start_embedded
from cli.failure import CommandFailed
from cli.roles.api import run_api
from cli.tables import markdown_table
from core.errors import PlatformError
from core.settings import Settings
from state.machines import MACHINES, Machine, Move

WHOLE = (start_embedded, run_api)  # importing them defines every error class that the platform has
MADE = "<!-- Made by `portside reference --write` from the code; edit the code instead. -->\n"


def pages() -> Mapping[str, str]:
    """Every page by its file's name."""
    return {
        "openapi.json": json.dumps(openapi_document(), ensure_ascii=False, indent=2, sort_keys=True) + "\n",
        "states.md": states_page(),
        "settings.md": settings_page(),
        "errors.md": errors_page(),
        "metrics.md": metrics_page(),
    }


def write_pages(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
        print(folder / name)


def check_pages(folder: Path) -> None:
    """Raises `CommandFailed` naming each file that is not what the code says."""
    stale = [name for name, text in pages().items() if _read(folder / name) != text]
    if stale:
        raise CommandFailed(
            f"{', '.join(str(folder / name) for name in stale)}: not what the code says now.",
            details=["next: `make docs` writes the pages anew; look at what changed and commit it"],
        )


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return None


def states_page() -> str:
    """The state machines: a table of moves and a diagram each."""
    parts = [
        MADE,
        "# States\n",
        "How the status of each resource may change. `-ing` means that someone is working on it now and that it",
        "will resolve by itself; an adjective or participle is where it rests. Any other change answers 409",
        "`illegal_move`.\n",
    ]
    for machine in MACHINES.values():
        parts += [f"## {machine.name}\n", _facts(machine), "", _moves(machine), "", _diagram(machine), ""]
    return "\n".join(parts).rstrip() + "\n"


def _facts(machine: Machine) -> str:
    ends = ", ".join(f"`{status}`" for status in sorted(machine.final)) or "nowhere: it can always be moved again"
    return f"Begins as `{machine.initial}`, ends as {ends}."


def _moves(machine: Machine) -> str:
    rows = [
        (f"`{move.name}`", _statuses(machine, move), f"`{move.to}`", move.why, f"`{move.event}`" if move.event else "")
        for move in machine.moves.values()
    ]
    return markdown_table(("move", "from", "to", "because", "event"), rows)


def _statuses(machine: Machine, move: Move) -> str:
    return ", ".join(f"`{status}`" for status in machine.statuses if status in move.sources)


def _diagram(machine: Machine) -> str:
    arrows = [
        f"    {source} --> {move.to}: {move.name}"
        for move in machine.moves.values()
        for source in machine.statuses
        if source in move.sources
    ]
    ends = [f"    {status} --> [*]" for status in machine.statuses if status in machine.final]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {machine.initial}", *arrows, *ends, "```"])


def settings_page() -> str:
    """Every setting with its default."""
    rows = [
        (f"`PORTSIDE_{name.upper()}`", _default(name, field.default), (field.description or "").replace("|", "\\|"))
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            MADE,
            "# Settings\n",
            "Each setting is an environment variable; `portside up` takes `--data`, `--host` and `--port` as well.\n",
            markdown_table(("variable", "default", "what it says"), rows),
            "",
        ]
    )


def _default(name: str, default: object) -> str:
    if name == "data":
        return "the user's data folder"
    if default is None:
        return ""
    if isinstance(default, dict):
        return "`" + ",".join(f"{key}={value}" for key, value in default.items()) + "`"
    return f"`{default}`"


def errors_page() -> str:
    """Every code of a problem document that the control plane answers with."""
    rows: dict[str, tuple[str, ...]] = {}
    for error in sorted(_tree(PlatformError), key=lambda found: (found.status, found.code, found.__name__)):
        meaning = (error.__doc__ or "").strip().splitlines()[0]
        rows.setdefault(error.code, (f"`{error.code}`", str(error.status), error.title, meaning))
    return "\n".join(
        [
            MADE,
            "# Errors\n",
            "Every error is an RFC 9457 problem document (`application/problem+json`) with `type`, `title`, `status`,",
            "`detail`, `instance`, `code` and `request_id`; `errors` names fields by JSON pointer, with a hint. Codes",
            "are stable. A file that cannot be served and an input that does not fit a model carry the model server's",
            "own codes, whose `detail` says what is wrong.\n",
            markdown_table(("code", "status", "title", "meaning"), rows.values()),
            "",
        ]
    )


def metrics_page() -> str:
    """Every figure that `/metrics` shows, by the process that has it."""
    parts = [
        MADE,
        "# Metrics\n",
        "What `/metrics` answers in Prometheus' text format, and `process_…` of Prometheus' own library; how to scrape",
        "it and what to look at stands in [Observe a platform](../how-to/observe.md). `portside up` is all of these",
        "processes in one. Histograms have `_bucket`, `_sum` and `_count`; counters begin anew with their process. No",
        "label is an id; the one that may have many values is the name of a service.\n",
    ]
    for part in PARTS:
        parts += [f"## {part[0].upper()}{part[1:]}\n", _figures(part), ""]
    return "\n".join(parts).rstrip() + "\n"


def _figures(part: str) -> str:
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.meaning)
        for one in figures()
        if one.part == part
    ]
    return markdown_table(("name", "kind", "labels", "what it says"), rows)


def _tree(error: type[PlatformError]) -> Iterable[type[PlatformError]]:
    yield error
    for below in error.__subclasses__():
        if not below.__name__.startswith("_"):
            yield from _tree(below)
