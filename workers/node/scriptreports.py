"""The lines that a script reports on its pipe, a JSON object each."""

import json
from typing import Final

from state.reports import Far, NoReport, Report, reported

LONGEST_LINE: Final = 65_536


def read_line(line: bytes) -> Report | Far:
    """What a line reports. Raises `NoReport`."""
    try:
        document = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NoReport(f"it is not JSON: {error}") from error
    return reported(document)


def _no_constant(name: str) -> None:
    """NaN and the infinities are no JSON; a loss may well be one: then there is no figure."""
