"""`make fuzz`: the long campaign. Exit status 1 when something was found."""

import argparse
import random
import signal
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

from tests.e2e.environments import make_environment
from tests.fuzz.campaign import Fuzzer, run
from tests.fuzz.data_campaign import treat
from tests.fuzz.data_files import handmade, mutated


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--files", type=int, default=600, help="mutated data files, beside the API")
    parser.add_argument("--folder", type=Path, default=None, help="where the reports and the platform's data lie; kept")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="portside-fuzz-"))
    print(f"seed {given.seed}, {given.seconds} s, reports in {folder}", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the platform must not outlive the campaign
    python, began = make_environment(folder / "environment", "schemathesis"), time.monotonic()
    try:
        treated = treat(chain(handmade(), mutated(given.seed, given.files)), folder / "data-files")
        print("data files", *treated.lines(), sep="\n", flush=True)
        summary = run(Fuzzer(python, given.seed), given.seconds, folder)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s", *summary.lines(), sep="\n")
    return 1 if summary.faults or treated.faults else 0


if __name__ == "__main__":
    sys.exit(main())
