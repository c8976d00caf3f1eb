"""What was measured, as tables: for the terminal, and as the page docs/benchmarks.md."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psutil

from benchmarks.figures import Figure, load_in_words
from benchmarks.peers.contenders import Contender, Sample
from benchmarks.peers.plan import BARS, READY_S, Workload
from benchmarks.peers.rounds import Results, middle

HEADINGS = ("", "requests/s", "p50", "p99", "CPU/request", "RSS", "against the replica")
FIRST = ("replica", "grpc", "arrow", "batched")  # whose rates the others are compared with
PAGE = """# Benchmarks

Our model server and gateway beside other model servers, measured in one run by `make bench BARS=peers`, which has
written this page. Read the ratios, not the rates: another machine has other rates, and a busy one worse ones.

## How

- {machine}.
- One core for a server with all its processes, another one for the load ({generator}). The gateway and its replica
  share the one core.
- {rounds} rounds of {seconds:g} s for each cell, one peer after another within a round, so that noise hits all alike;
  the tables show medians, and a ratio is the median of the rounds' own ratios. Each cell is warmed up first.
  Connections are kept alive; each has one request on its way at a time, over gRPC four.
- {load} when it ended, of which the measurement itself is 2 at the most.
- The same model files everywhere, run by the same version of ONNX Runtime ({runtime}) with one thread. Every peer
  has one worker, and its request log and metrics off where it offers that. Triton's wheel brings the Python backend
  and no other. What each runs is in `benchmarks/peers/theirs/`.
- Dynamic batching is measured twice. Convolutions alone, as in the residual network, have little to gain on one core:
  the engine itself answers its images at most 1.06 times as quickly in batches. Behind them a dense layer, as many
  networks have one, reads its weights once for a whole batch.
- Nobody is measured before its answers are those of the engine called in process.
- All of them run all the time; at rest only the platform uses the core, some 4 % of it, in everyone's figures.
- p50 and p99 are exact, from every request. "At half" sends at a steady rate and times each request from its sending.
- CPU is the processor time of the server's processes for one request, RSS what they hold at the end; a replica has
  one model, a peer all of those that it serves here.

{versions}

## The bars

{bars}

{ready}

## All figures

{tables}
"""


def as_figures(results: Results, chosen: Sequence[str], contenders: Mapping[str, Contender]) -> list[Figure]:
    """The bars of the chosen workloads, and the failures."""
    figures = []
    for bar in BARS:
        if bar.workload not in chosen:
            continue
        figure = results.figure(bar)
        if figure is None:
            figures.append(Figure(bar.title, bar.target_in_words, _why(results, bar.workload), ok=False))
        else:
            figures.append(Figure(bar.title, bar.target_in_words, bar.in_words(figure), bar.is_met(figure)))
    if (replica := contenders.get("replica")) and replica.ready_s is not None:
        told = f"{replica.ready_s:.2f} s"
        figures.append(
            Figure("replica of iris, start to first answer", f"≤ {READY_S} s", told, replica.ready_s <= READY_S)
        )
    return figures


def print_cells(results: Results, workloads: Iterable[Workload], contenders: Mapping[str, Contender]) -> None:
    """The tables for a terminal."""
    for workload in workloads:
        print(f"\n{workload.title}")
        rows = [HEADINGS, *_rows(results, workload, contenders)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
        for row in rows:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for line in _failures(results, workload, contenders):
            print(f"  {line}")


def page(
    results: Results,
    workloads: Sequence[Workload],
    contenders: Mapping[str, Contender],
    figures: Sequence[Figure],
    **facts: object,
) -> str:
    """The page of documentation; `facts` are the generator, rounds, seconds, runtime."""
    bars = [
        ("bar", "target", "measured", ""),
        *((line.bar, line.target, line.measured, _mark(line)) for line in figures),
    ]
    versions = sorted({f"{one.name} {one.version}" for one in contenders.values() if one.version})
    tables = []
    for workload in workloads:
        lines = [f"### {workload.title[0].upper()}{workload.title[1:]}", ""]
        lines += [_markdown([HEADINGS, *_rows(results, workload, contenders)])]
        lines += [f"\n{line}" for line in _failures(results, workload, contenders)]
        tables.append("\n".join(lines))
    return PAGE.format(
        machine=machine_in_words(),
        load=load_in_words().capitalize(),
        versions=f"Versions on {datetime.now(UTC):%Y-%m-%d}: {'; '.join(versions)}.",
        bars=_markdown(bars),
        ready="A ratio compares requests per second unless the bar says otherwise.",
        tables="\n\n".join(tables),
        **facts,
    )


def machine_in_words() -> str:
    """Cores, processor, memory, system and Python; no names."""
    information = Path("/proc/cpuinfo").read_text("utf-8")
    models = [line.partition(":")[2].strip() for line in information.splitlines() if line.startswith("model name")]
    gibibytes = psutil.virtual_memory().total / 2**30
    return (
        f"{psutil.cpu_count()} cores of {models[0] if models else platform.machine()}, {gibibytes:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}, Python {platform.python_version()}"
    )


def _rows(results: Results, workload: Workload, contenders: Mapping[str, Contender]) -> list[tuple[str, ...]]:
    cells = {peer: results.samples.get((workload.name, peer)) for peer in workload.peers}
    measured = {peer: middle(found.values()) for peer, found in cells.items() if found}
    ours = next((measured[peer].per_s for peer in FIRST if peer in measured), None)
    return [_row(contenders[peer].name, sample, ours) for peer, sample in measured.items()]


def _row(name: str, sample: Sample, ours_per_s: float | None) -> tuple[str, ...]:
    ratio = "" if ours_per_s is None else f"{sample.per_s / ours_per_s:.3g}x"
    rss = f"{sample.resident_bytes / 2**20:.0f} MiB"
    return (
        *(name, f"{sample.per_s:,.0f}", _duration(sample.p50_us), _duration(sample.p99_us)),
        *(_duration(sample.processor_us), rss, ratio),
    )


def _failures(results: Results, workload: Workload, contenders: Mapping[str, Contender]) -> list[str]:
    found = [(peer, results.failures.get((workload.name, peer))) for peer in workload.peers]
    names = {peer: contenders[peer].name if peer in contenders else peer for peer in workload.peers}
    return [f"{names[peer]} could not be measured: {why}." for peer, why in found if why]


def _why(results: Results, workload: str) -> str:
    said = [f"{peer}: {why}" for (name, peer), why in results.failures.items() if name == workload]
    return ("not measured; " + "; ".join(said))[:160]


def _duration(microseconds: float) -> str:
    return f"{microseconds:.0f} µs" if microseconds < 1000 else f"{microseconds / 1000:.1f} ms"


def _mark(line: Figure) -> str:
    return {True: "met", False: "**missed**", None: ""}[line.ok]


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    heading, *others = ("| " + " | ".join(cells) + " |" for cells in rows)
    return "\n".join([heading, "|---" * len(rows[0]) + "|", *others])
