"""What a service that follows goes by: a reference to versions of its model, and the version that it meant last."""

from core.errors import FieldProblem, InvalidField
from state.tables import Service

LATEST = "latest"


def is_reference(version: str) -> bool:
    """Whether it can mean another version tomorrow: `latest` or an `@alias`."""
    return version == LATEST or version.startswith("@")


def remember(service: Service, follow: bool | None, named: str | None, meant: str) -> None:
    """Keep in a locked service what a wish follows: `named` as the wish spells the version, `meant` the version's id.

    Without `follow` a service that follows goes on with the new reference, and stops at a version that is none. Raises
    `InvalidField`.
    """
    if follow and named is not None and not is_reference(named):
        raise _invalid(f"version '{named[:80]}' stays the same: there is nothing to follow")
    if follow and named is None and service.version_ref is None:
        raise _invalid("the service follows nothing yet, and the request does not say what it shall follow")
    if follow is False:
        service.version_ref = service.followed_id = None
    elif named is not None and (follow or service.version_ref is not None):
        service.version_ref = named if is_reference(named) else None
        service.followed_id = meant if is_reference(named) else None


def _invalid(detail: str) -> InvalidField:
    hint = "give version as 'latest' or as an alias such as '@prod'"
    return InvalidField(detail, fields=[FieldProblem("/follow", detail, hint)])
