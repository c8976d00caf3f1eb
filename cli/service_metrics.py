"""What a service and its replicas did lately, as a table."""

from collections.abc import Sequence

from cli.client import Document, Platform
from cli.fleet import service_path
from cli.output import Output
from cli.upload import size_in_words
from cli.words import seconds_in_words, window_in_words

FIGURES = ("count", "per second", "errors", "refused", "p50", "p95", "p99", "cpu", "memory")


def show_metrics(platform: Platform, name: str, window: str | None, output: Output) -> None:
    """The service in each window, then its replicas in the shortest. Raises `CommandFailed`."""
    query = {} if window is None else {"window": window}
    found = platform.get(f"{service_path(name)}/metrics", **query)
    if output.is_for_scripts:
        output.document(found)
        return
    windows: Sequence[Document] = found["windows"]
    rows = [(window_in_words(int(each["window_s"])), *figures_in_words(each)) for each in windows]
    output.table(("last", *FIGURES), rows)
    if not found["replicas"]:
        output.say(f"{name} has no replica, and had none lately.")
        return
    output.data(f"\nreplicas in the last {rows[0][0]}:")
    replicas = [(str(r["id"]), str(r["status"]), *figures_in_words(r["windows"][0])) for r in found["replicas"]]
    output.table(("replica", "status", *FIGURES), replicas)


def figures_in_words(window: Document) -> tuple[str, ...]:
    """One window in the order of `FIGURES`; what was not seen is a dash."""
    latency = window["latency_ms"]
    rate = f" ({window['error_rate']:.2%})" if window["errors"] else ""
    return (
        str(window["count"]),
        f"{window['rps']:g}",
        f"{window['errors']}{rate}",
        str(window["refused"]),
        *("-" if latency[p] is None else seconds_in_words(latency[p] / 1000) for p in ("p50", "p95", "p99")),
        "-" if window["cpu"] is None else f"{window['cpu']:.2f}",
        "-" if window["memory_bytes"] is None else size_in_words(int(window["memory_bytes"])),
    )
