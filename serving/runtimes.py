"""The engines that this interpreter has, by their packages, without loading one: told by `python -m serving runtimes`.

Every platform asks when it starts: this imports nothing else of ours.
"""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import BinaryIO

# The engine, which its package is named after, and the formats that it runs.
ENGINES = {"onnxruntime": ("onnx",), "pypmml": ("pmml",)}


def tell_runtimes(out: BinaryIO) -> int:
    """Write a JSON list of `{"engine","engine_version","formats","python"}`, without engines that are not there."""
    found = [{**runtime(engine), "formats": formats} for engine, formats in ENGINES.items() if _version(engine)]
    out.write(json.dumps(found).encode() + b"\n")
    return 0


def runtime(engine: str) -> dict[str, str]:
    """The `engine`, its `engine_version`, empty where it is not installed, and the `python`."""
    return {"engine": engine, "engine_version": _version(engine), "python": platform.python_version()}


def _version(engine: str) -> str:
    try:
        return version(engine)
    except PackageNotFoundError:
        return ""
