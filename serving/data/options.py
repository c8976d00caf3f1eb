"""The arguments of `python -m serving data`."""

import argparse
from pathlib import Path
from typing import Final

FULL, QUICK = "full", "quick"
MOST_FILES: Final = 100_000
MOST_BYTES: Final = 100 * 2**30


def data_parser() -> argparse.ArgumentParser:
    """Two commands: `describe FILE` and `unpack FILE DIR`."""
    parser = argparse.ArgumentParser("python -m serving data", description="Describe data files, unpack archives.")
    commands = parser.add_subparsers(dest="command", required=True)
    describe = commands.add_parser("describe", help="print what a table is and what is in it, as JSON")
    describe.add_argument("file", type=Path, metavar="FILE")
    describe.add_argument("--format", default="{}", metavar="JSON", help="what is known: format, delimiter, …")
    describe.add_argument("--name", default="", help="what the file was called where it came from")
    describe.add_argument("--preview-rows", type=int, default=500, help="rows in the preview (default: %(default)s)")
    describe.add_argument(
        "--stats", choices=(FULL, QUICK), default=FULL, help="read all, or estimate from the beginning or the footer"
    )
    describe.add_argument("--columns-from", metavar="JSON", help="another description, whose columns it must have")
    describe.add_argument("--report-fd", type=int, metavar="FD", help="where progress is written, a JSON object a line")
    unpack = commands.add_parser("unpack", help="unpack zip, tar, tar.gz or tar.zst, and print what was in it")
    unpack.add_argument("file", type=Path, metavar="FILE")
    unpack.add_argument("folder", type=Path, metavar="DIR", help="is made; must be empty where it exists")
    unpack.add_argument("--most-files", type=int, default=MOST_FILES, help="(default: %(default)s)")
    unpack.add_argument("--most-bytes", type=int, default=MOST_BYTES, help="of all files (default: %(default)s)")
    for each in (describe, unpack):
        each.add_argument("--timeout-s", type=float)
        each.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
        each.add_argument("--memory-mb", type=int, help="the most memory that this process may use")
        each.add_argument("--parent-fd", type=int, help="a pipe's read end: at its EOF this process ends")
    return parser
