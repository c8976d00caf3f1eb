"""The nearest known name, for messages that help with a typing mistake."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_TOLD = 50


def hint(given: str, known: Iterable[str]) -> str:
    """`did you mean 'name'?`, or the known names when none is near; empty when there are none."""
    names = sorted(set(known))
    near = get_close_matches(given[:80], names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    told = [*names[:MOST_TOLD], *(["…"] if len(names) > MOST_TOLD else [])]
    return f"known: {', '.join(told)}" if names else ""
