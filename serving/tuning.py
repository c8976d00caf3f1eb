"""How a server batches, what it lets wait and what it writes down: options with defaults that suit most models."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_BATCH, MOST_WAITING = 4096, 100_000


@dataclass(frozen=True, slots=True)
class Tuning:
    """`None` is found by trying, or follows from the others."""

    max_batch: int | None = None
    max_delay_s: float = 0.002
    instances: int | None = None
    max_queue: int = 512
    max_in_flight_bytes: int = 256 * 1024 * 1024
    memory_mb: int | None = None
    access_log: bool = False
    sample_rate: float = 0.0
    sample_file: Path | None = None


UNTUNED = Tuning()


def add_tuning(parser: argparse.ArgumentParser) -> None:
    """Add the options; each may be set by a variable, too, as a service's `env` does."""
    tuned = parser.add_argument_group("tuning", "each also by a variable: --max-batch by PORTSIDE_MAX_BATCH")

    def add(flag: str, kind: Callable[[str], object], text: str, default: object = None) -> None:
        variable = "PORTSIDE_" + flag.removeprefix("--").replace("-", "_").upper()
        tuned.add_argument(flag, type=kind, default=os.environ.get(variable, default), help=text)

    add("--max-batch", _between(1, MOST_BATCH), "records that are run together, 1: never (default: found by trying)")
    add("--max-delay-ms", _milliseconds, "a request waits for others that are coming (default: %(default)s)", "2")
    add("--instances", _between(1, 256), "calls of the engine at once (default: 1 with batching, else 2 or --threads)")
    add("--max-queue", _between(1, MOST_WAITING), "requests of one model that may wait (default: %(default)s)", "512")
    add("--max-in-flight-mb", _between(1, 2**20), "bodies in memory at once (default: 4 times --max-body-mb)")
    add("--sample-payloads", _share, "the share of predictions whose bodies are kept (default: %(default)s)", "0")
    add("--sample-file", Path, "where they are kept, a line each (default: the log)")
    tuned.add_argument("--access-log", action="store_true", help="write a line of JSON to the log for each request")


def tuning_of(options: argparse.Namespace) -> Tuning:
    """What the options say."""
    in_flight_mb = max(options.max_in_flight_mb or 4 * options.max_body_mb, options.max_body_mb)
    return Tuning(
        max_batch=options.max_batch,
        max_delay_s=options.max_delay_ms / 1000,
        instances=options.instances,
        max_queue=options.max_queue,
        max_in_flight_bytes=in_flight_mb * 2**20,
        memory_mb=options.memory_mb,
        access_log=options.access_log or os.environ.get("PORTSIDE_ACCESS_LOG", "") not in ("", "0"),
        sample_rate=options.sample_payloads,
        sample_file=options.sample_file,
    )


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least} and {most}")
        return value

    return number


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1000")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value
