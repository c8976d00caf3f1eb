"""What a bar answers: figures with their targets; and the arithmetic on samples."""

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("bar", "target", "measured", "ok")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table; `ok` is nothing where there is no target and the figure is for information."""

    bar: str
    target: str
    measured: str
    ok: bool | None = None


def print_table(figures: Sequence[Figure]) -> None:
    """Print the figures in columns, with the load average beside them."""
    marks = {True: "yes", False: "NO", None: ""}
    rows = [HEADINGS, *((line.bar, line.target, line.measured, marks[line.ok]) for line in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(f"\n{os.cpu_count()} cores, {load_in_words()}")


def load_in_words() -> str:
    """How busy the machine is with all that runs on it."""
    one, five, _ = os.getloadavg()
    return f"load average {one:.1f} (1 min) {five:.1f} (5 min)"


def quantile(samples: Sequence[float], share: float) -> float:
    """The smallest sample that at least this share of the samples does not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(samples: Sequence[float]) -> float:
    """The middle of the samples."""
    return statistics.median(samples)


def in_words(samples: Sequence[float], unit: str, digits: int = 2) -> str:
    """Median and maximum with the number of tries."""
    return f"median {median(samples):.{digits}f} {unit}, max {max(samples):.{digits}f} {unit} of {len(samples)}"
