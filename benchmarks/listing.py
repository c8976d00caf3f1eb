"""Pages of a list of 10⁴ models over HTTP: the first, one in the middle and the last, with any filter and any order.

Embedded, on SQLite, one client. A page of 500 is ten times the work of one of 50, and is held to the same bar.
"""

import time
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from benchmarks.figures import Figure, quantile
from benchmarks.filling import fill_from_afar
from benchmarks.platform import Broken, OneProcess, fresh_folder, processor_s, running
from benchmarks.wire import Connection, request

COUNT = 10_000
ROUNDS = 20  # of pages of 50; a fifth of them of pages of 500
WARM_UP = 2
P99_MS = 30.0
LIST = "/api/v1/models"
MIDDLE = quote("2025-06-15T16:30:00Z")  # about half of what `filling` makes lies before it
FILTERS: Mapping[str, str] = {
    "no filter": "",
    "name.contains, many": "name.contains=9",
    "name.contains, one": "name.contains=m9999",
    "name.contains, none": "name.contains=zzz",
    "name.prefix": "name.prefix=m99",
    "name (one)": "name=m5000",
    "display_name.suffix": "display_name.suffix=99",
    "status": "status=active",
    "status.not.in": "status.not.in=deleting,deleted",
    "status, none": "status=deleting",
    "created_at.gt": f"created_at.gt={MIDDLE}",
    "created_at.lt": f"created_at.lt={MIDDLE}",
    "updated_at.lt": f"updated_at.lt={MIDDLE}",
    "order_by=created_at": "order_by=created_at",
    "order_by=name": "order_by=name",
    "order_by=-name": "order_by=-name",
    "order_by=-updated_at": "order_by=-updated_at",
    "order_by=name, name.contains": "order_by=name&name.contains=9",
    "count": "count=true",
    "count, name.contains": "count=true&name.contains=9",
}


def measure() -> list[Figure]:
    """Every filter, three pages of each, in turns."""
    with fresh_folder() as data:
        with running(data):
            pass  # it makes the database
        fill_from_afar(f"sqlite:///{data / 'portside.db'}", "models", COUNT)
        with running(data) as platform:
            return [figure for size in (50, 500) for figure in _figures(platform, size)]


def _figures(platform: OneProcess, size: int) -> list[Figure]:
    with Connection(platform.address) as connection:
        asked = {
            f"{what}, {place} page": request("GET", path)
            for what, filters in FILTERS.items()
            for place, path in _pages(connection, filters, size).items()
        }
        took: Mapping[str, list[float]] = {what: [] for what in asked}
        used = processor_s([platform.process.pid])
        rounds = ROUNDS if size == 50 else ROUNDS // 5
        for number in range(WARM_UP + rounds):
            for what, ask in asked.items():
                began = time.perf_counter()
                status = connection.exchange(ask).status
                if status != 200:
                    raise Broken(f"{what} was answered {status}")
                if number >= WARM_UP:
                    took[what].append(1000 * (time.perf_counter() - began))
    used = (processor_s([platform.process.pid]) - used) / (len(asked) * (WARM_UP + rounds))
    every = [sample for samples in took.values() for sample in samples]
    p99s = sorted(((quantile(samples, 0.99), what) for what, samples in took.items()), reverse=True)
    for p99, what in p99s[:6]:
        print(f"  page_size {size}, {what}: p50 {quantile(took[what], 0.5):.1f} p99 {p99:.1f} ms", flush=True)
    return [
        _figure(f"{COUNT} models, page_size {size}, any page, any filter, p99", every),
        _figure("  the slowest of these by its p50", took[_slowest(took)], told=_slowest(took)),
        Figure("  processor time of the platform for one of these", "", f"{1000 * used:.1f} ms"),
    ]


def _pages(connection: Connection, filters: str, size: int) -> Mapping[str, str]:
    """The paths of the first, the middle and the last page; fewer where the list has fewer pages."""
    paths, query = [], f"{filters}&page_size={size}".lstrip("&")
    path = f"{LIST}?{query}"
    while True:
        paths.append(path)
        answer = connection.call("GET", path)
        if answer.status != 200:
            raise Broken(f"{path} was answered {answer.status}: {answer.body[:300].decode(errors='replace')}")
        if (token := answer.document["next_page_token"]) is None:
            break
        path = f"{LIST}?{query}&page_token={token}"
    found = {"first": paths[0], "middle": paths[len(paths) // 2], "last": paths[-1]}
    return dict(list(found.items())[: len(paths)])


def _slowest(took: Mapping[str, Sequence[float]]) -> str:
    return max(took, key=lambda what: quantile(took[what], 0.5))


def _figure(bar: str, samples: Sequence[float], told: str = "") -> Figure:
    p50, p99 = quantile(samples, 0.5), quantile(samples, 0.99)
    words = f"{p99:.1f} ms, p50 {p50:.1f} of {len(samples)}{told and f' ({told})'}"
    return Figure(bar, f"≤ {P99_MS:g} ms", words, p99 <= P99_MS)
