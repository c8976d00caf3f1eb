"""`signature.py` as JSON and back, both strict: what the schema refuses, `decode_signature` refuses too."""

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from serving.signature import Signature

# Members that came after the first release: its reader refuses those that it does not know, also where they are null.
_LATER: Final = ("parts", "features")


class InvalidSignature(Exception):
    """A document that is not a signature; the message says where it is wrong."""


def encode_signature(signature: Signature) -> bytes:
    """The JSON document, in the order of the dataclass's fields; what older releases do not know only where it is."""
    return msgspec.json.encode(_as_older_releases_know(msgspec.to_builtins(signature)))


def decode_signature(document: bytes) -> Signature:
    """Read a signature. Raises `InvalidSignature` for malformed JSON, wrong types and unknown members."""
    try:
        given = msgspec.json.decode(document)
        signature = msgspec.convert(given, Signature)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidSignature(f"the signature cannot be read: {error}") from error
    # msgspec lets unknown members of a dataclass pass; they are what its own encoding does not give back.
    unknown = _first_unknown(given, msgspec.to_builtins(signature), "$")
    if unknown:
        raise InvalidSignature(f"the signature has a member that does not exist: {unknown}")
    return signature


def _as_older_releases_know(document: Mapping[str, Any]) -> dict[str, Any]:
    """A signature without the later members that it does not use."""
    kept = _without_unused(document)
    kept["inputs"] = [_without_unused(field) for field in kept["inputs"]]
    if "parts" in kept:
        kept["parts"] = [{**part, "signature": _as_older_releases_know(part["signature"])} for part in kept["parts"]]
    return kept


def _without_unused(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None or name not in _LATER}


def _first_unknown(given: object, known: object, path: str) -> str | None:
    """The path of the first object member of `given` that `known` lacks."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            inside = f"{path}.{key}"
            found = inside if key not in known else _first_unknown(value, known[key], inside)
            if found:
                return found
    if isinstance(given, list) and isinstance(known, list | tuple):
        for index, pair in enumerate(zip(given, cast("list[object]", known), strict=False)):
            found = _first_unknown(pair[0], pair[1], f"{path}[{index}]")
            if found:
                return found
    return None
