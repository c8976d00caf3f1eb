"""Whether an answer is the expected one: labels exactly, numbers within what 32-bit arithmetic allows."""

from collections.abc import Mapping

TOLERANCE = 1e-4  # examples/README.md says so to its readers


def difference(found: object, expected: object, where: str = "outputs") -> str | None:
    """The first place where they differ, in words, or nothing."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        if found.keys() != expected.keys():
            return f"{where} has the members {sorted(found)} instead of {sorted(expected)}"
        pairs = [(f"{where}.{key}", found[key], expected[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            return f"{where} has {len(found)} values instead of {len(expected)}"
        pairs = [(f"{where}[{i}]", one, other) for i, (one, other) in enumerate(zip(found, expected, strict=True))]
    else:
        return None if _is_same(found, expected) else f"{where} is {found!r} instead of {expected!r}"
    return next((word for at, one, other in pairs if (word := difference(one, other, at))), None)


def _is_same(found: object, expected: object) -> bool:
    if isinstance(expected, float) and isinstance(found, float | int):
        return abs(found - expected) <= TOLERANCE * max(1.0, abs(expected))
    return found == expected
