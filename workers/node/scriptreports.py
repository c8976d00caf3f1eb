"""The lines that a script reports: figures, and how far it is. They come from a stranger: all is checked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from state.reports import Report

LONGEST_LINE: Final = 65_536
MOST_VALUES, LONGEST_NAME, LONGEST_TEXT, LONGEST_DETAIL = 100, 100, 1000, 200
LARGEST_STEP: Final = 2**53


@dataclass(frozen=True, slots=True)
class Far:
    """How far the script says it is."""

    percent: float
    detail: str | None


class NoReport(ValueError):
    """It is not a report; the sentence says why."""


def read_line(line: bytes) -> Report | Far:
    """What a line reports. Raises `NoReport`."""
    try:
        document = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise NoReport(f"it is not JSON: {error}") from error
    if not isinstance(document, Mapping):
        raise NoReport("it is no JSON object")
    if document.get("type") == "progress":
        return _far(document)
    if document.get("type", "metrics") != "metrics":
        raise NoReport("its type is neither 'metrics' nor 'progress'")
    return Report(_values(document.get("values")), _step(document.get("step")))


def _no_constant(name: str) -> None:
    """NaN and the infinities are no JSON; a loss may well be one: then there is no figure."""


def _far(document: Mapping[str, Any]) -> Far:
    percent, detail = document.get("percent"), document.get("detail")
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise NoReport("percent is a number from 0 to 100")
    if detail is not None and not isinstance(detail, str):
        raise NoReport("detail is text")
    return Far(float(percent), None if detail is None else _clean(detail)[:LONGEST_DETAIL])


def _step(given: object) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not -LARGEST_STEP <= given <= LARGEST_STEP:
        raise NoReport("step is a whole number")
    return given


def _values(given: object) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise NoReport("values is an object with a name and a value at least")
    if len(given) > MOST_VALUES:
        raise NoReport(f"there are more than {MOST_VALUES} values")
    return {_clean(str(name))[:LONGEST_NAME]: _value(value) for name, value in given.items()}


def _value(given: object) -> Any:
    if isinstance(given, str):
        return _clean(given)[:LONGEST_TEXT]
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) > 2**63:
        return float(given) if abs(given) < 10**300 else str(given)[:LONGEST_TEXT]
    if given is None or isinstance(given, bool | int):
        return given
    if isinstance(given, float):
        return given if given - given == 0 else None  # 1e999 is read as infinity
    raise NoReport("a value is a number, text, true, false or null")


def _clean(text: str) -> str:
    """Without what no database keeps: NULs and lone surrogates."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
