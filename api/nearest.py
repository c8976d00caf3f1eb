"""The nearest known name, for messages that help with a typing mistake."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

MOST_TOLD = 50
MOST_COMPARED = 200  # each takes some 10 µs, and a table may have 10,000 columns


def hint(given: str, known: Iterable[str]) -> str:
    """`did you mean 'name'?`, or the known names when none is near; empty when there are none."""
    names = sorted(set(known))
    near = get_close_matches(given[:80], _beside(given, names), n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    told = [*names[:MOST_TOLD], *(["…"] if len(names) > MOST_TOLD else [])]
    return f"known: {', '.join(told)}" if names else ""


def _beside(given: str, names: Sequence[str]) -> Sequence[str]:
    """The sorted names, or of very many those that stand around the given one: most begin as what was meant."""
    if len(names) <= MOST_COMPARED:
        return names
    start = max(0, bisect_left(names, given) - MOST_COMPARED // 2)
    return names[start : start + MOST_COMPARED]
