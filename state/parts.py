"""The parts of a version whose file is an archive of several models, as its signature has them. Pure.

The contract with the model server is `parts` in the signature; what else the signature says is of the default part.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.errors import FieldProblem, InvalidField, NotFound

Signature = Mapping[str, Any]
Part = Mapping[str, Any]
FORMAT: Final = "parts"  # of a version


def parts_of(signature: Signature | None) -> Sequence[Part]:
    """The parts in the order of the manifest; none of a file that is one model, or is not inspected yet."""
    found: Sequence[Part] = (signature or {}).get("parts") or ()
    return found


def format_of(signature: Signature) -> str:
    """The format of the file that was inspected."""
    return FORMAT if parts_of(signature) else str(signature["format"])


def formats_within(signature: Signature | None, file_format: str) -> Sequence[str]:
    """What engines must read to serve a version: the format of its file, or those of its parts."""
    found = {str(part["signature"]["format"]) for part in parts_of(signature)}
    return sorted(found) if found else [file_format]


def find_part(signature: Signature | None, key: str, version: str) -> Part:
    """A part by its key; `version` says in words whose. Raises `NotFound`."""
    found = next((part for part in parts_of(signature) if part["key"] == key), None)
    if found is None:
        raise NotFound(_unknown(signature, key, version))
    return found


def check_part(signature: Signature | None, key: str, version: str) -> None:
    """Raises `InvalidField` where a request's `part` is none of the version."""
    if all(part["key"] != key for part in parts_of(signature)):
        detail = _unknown(signature, key, version)
        hint = "leave it out to ask the default part" if parts_of(signature) else "leave it out"
        raise InvalidField(f"'/part' cannot be used: {detail}", fields=[FieldProblem("/part", detail, hint)])


def _unknown(signature: Signature | None, key: str, version: str) -> str:
    keys = ", ".join(part["key"] for part in parts_of(signature))
    if not keys:
        return f"{version} is one model without parts; leave out the part '{key[:60]}'"
    return f"{version} has no part '{key[:60]}'; its parts: {keys}"
