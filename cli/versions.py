"""The versions of Portside and of what it relies on, read from the installed packages' metadata."""

import platform
from importlib.metadata import PackageNotFoundError, version

ENGINES = ("onnxruntime", "onnx", "pypmml")
UNKNOWN = "not installed"


def version_of(package: str) -> str:
    """The version of an installed package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def version_lines() -> list[str]:
    """`portside 1.2.3`, then a line per engine and one for Python."""
    engines = [f"{name} {version_of(name)}" for name in ENGINES]
    return [f"portside {version_of('portside')}", *engines, f"Python {platform.python_version()}"]
