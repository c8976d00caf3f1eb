"""Pinned runtimes: a service may ask for an engine's version and Python's, out of what the nodes say they have."""

from collections.abc import Mapping, Sequence

from core.errors import FieldProblem, InvalidField, Json, Unavailable
from state.database import Session
from state.parts import formats_within
from state.queries.installation import known_runtimes
from state.tables import Version


class RuntimesUnknown(Unavailable):
    """No node is there, or it has just started."""

    code, title = "runtimes_unknown", "No node has said what it can run"


async def offered_runtimes(session: Session) -> Sequence[Mapping[str, Json]]:
    """What a service may pin. Raises `RuntimesUnknown`."""
    found = await known_runtimes(session)
    if found is None:
        raise RuntimesUnknown(
            "no node has said yet what it can run; ask again in a few seconds, and where that does not help start one: "
            "portside node"
        )
    return found


async def check_pinned(session: Session, pinned: Mapping[str, str], version: Version) -> None:
    """Raises `InvalidField` naming what there is where nothing pinned is here, and `RuntimesUnknown`."""
    found = await offered_runtimes(session)
    for file_format in formats_within(version.signature, version.format):
        _check(found, file_format, pinned)


def _check(found: Sequence[Mapping[str, Json]], file_format: str, pinned: Mapping[str, str]) -> None:
    fitting = [each for each in found if file_format in _formats(each)]
    if running_on(found, file_format, pinned) is not None:
        return
    wanted = ", ".join(f"{part} {pinned[part]}" for part in sorted(pinned))
    there = "; ".join(_words(each) for each in fitting) or "none"
    detail = f"no node runs {file_format} with {wanted}; there is: {there}"
    problem = FieldProblem("/runtime", detail, "GET /api/v1/runtimes lists what may be pinned")
    raise InvalidField(f"'/runtime' cannot be used: {detail}", fields=[problem])


def running_on(
    found: Sequence[Mapping[str, Json]], file_format: str, pinned: Mapping[str, str]
) -> Mapping[str, Json] | None:
    """Which of the runtimes that there are runs a file of this format, as it is pinned, if any does."""
    return next((each for each in found if file_format in _formats(each) and _is(pinned, each)), None)


def _formats(runtime: Mapping[str, Json]) -> Sequence[str]:
    formats = runtime["formats"]
    return [str(each) for each in formats] if isinstance(formats, list) else []


def _is(pinned: Mapping[str, str], runtime: Mapping[str, Json]) -> bool:
    """Whether it is what is pinned; `1.31` is any 1.31.x."""
    return all(f"{runtime[part]}.".startswith(f"{given}.") for part, given in pinned.items())


def _words(runtime: Mapping[str, Json]) -> str:
    return f"{runtime['engine']} {runtime['engine_version']} on Python {runtime['python']}"
