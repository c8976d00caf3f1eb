"""Whether a model server is what it is asked to be: an engine, its version, a Python."""

import json
from collections.abc import Mapping
from pathlib import Path

from serving.engines.base import InvalidModel
from serving.parts.loading import formats_within
from serving.runtimes import ENGINES, runtime
from serving.signature_json import InvalidSignature, decode_signature


def missing_runtime(wanted: Mapping[str, str], model: Path, signature_file: Path | None = None) -> str | None:
    """A refusal in JSON where a model is to run with another `engine`, `engine_version` or `python` than there is.

    `1.31` is any 1.31.x. A file that is no model, or cannot be read, is left to whoever loads it; of several parts each
    is to run so.
    """
    try:
        signature = None if signature_file is None else decode_signature(signature_file.read_bytes())
        engines = sorted(map(_engine, formats_within(model, signature)))
    except (InvalidModel, InvalidSignature, OSError):
        return None
    refusals = (_missing(wanted, runtime(engine)) for engine in engines)
    return next((refusal for refusal in refusals if refusal is not None), None)


def _missing(wanted: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    if all(f"{there[part]}.".startswith(f"{given}.") for part, given in wanted.items()):
        return None
    asked = ", ".join(f"{part} {given}" for part, given in wanted.items())
    found = f"{there['engine']} {there['engine_version'] or '(not installed)'} on Python {there['python']}"
    document = {
        "code": "runtime_missing",
        "message": f"the model is to run with {asked}, and here is {found}",
        "hint": "Pin a runtime that is there, or none.",
    }
    return json.dumps(document)


def _engine(file_format: str) -> str:
    return next((engine for engine, formats in ENGINES.items() if file_format in formats), file_format)
