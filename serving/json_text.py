"""JSON bodies to values, with what is wrong where they are none, and the engines' values to JSON."""

import re

import msgspec
import numpy as np

from serving.problems import Problem

OMITTED = "leave the value out, or send null where the input is nullable"
_BYTE = re.compile(r"\(byte (\d+)\)")


def parse(body: bytes) -> object:
    """Decode JSON. Raises `Problem` 400 that says where it is malformed."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(body, error) from error


def malformed(body: bytes, error: Exception, instead_of_nan: str = OMITTED) -> Problem:
    """What is wrong with a body that is not JSON, and what its sender should do `instead_of_nan`."""
    if not body.strip():
        return Problem(400, "malformed_json", "the body is empty", hint='send JSON such as {"inputs": {…}}')
    if isinstance(error, RecursionError):
        return Problem(400, "malformed_json", "the JSON is nested too deeply", hint="no input has so many dimensions")
    if isinstance(error, UnicodeDecodeError):
        return Problem(400, "malformed_json", "a string of the JSON is not valid UTF-8", hint="encode it as UTF-8")
    if isinstance(error, msgspec.ValidationError):
        return Problem(400, "malformed_json", "a number of the JSON is too large for any datatype", hint=str(error))
    found = _BYTE.search(str(error))
    hint = ""
    if found:
        at = int(found[1])
        near = body[max(0, at - 20) : at + 20].decode("utf-8", "replace")
        hint = f"near {near!r}"
        if re.match(rb"[+-]?(NaN|nan|Infinity|inf)|[aN]", body[at : at + 10]):
            hint += f"; JSON has no NaN or Infinity: {instead_of_nan}"
    return Problem(400, "malformed_json", f"the body is not JSON: {error}", hint=hint)


def plain(value: object) -> object:
    """What engines put into object columns, as msgspec can write it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return str(value)
