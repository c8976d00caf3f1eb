"""`python -m serving runtimes`: the engines that this interpreter has, by their packages, without loading one."""

import json
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import BinaryIO

# The engine, which its package is named after, and the formats that it runs.
ENGINES = {"onnxruntime": ("onnx",), "pypmml": ("pmml",)}


def tell_runtimes(out: BinaryIO) -> int:
    """Write a JSON list of `{"engine","engine_version","formats","python"}`, without engines that are not there."""
    found = []
    for engine, formats in ENGINES.items():
        try:
            engine_version = version(engine)
        except PackageNotFoundError:
            continue
        python = platform.python_version()
        found.append({"engine": engine, "engine_version": engine_version, "formats": formats, "python": python})
    out.write(json.dumps(found).encode() + b"\n")
    return 0
