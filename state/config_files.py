"""The config files of a service as a whole: how many and how large, and that no file is where another has a folder."""

from collections.abc import Mapping
from typing import Final

from core.errors import FieldProblem, InvalidField

MOST_FILES: Final = 50
LARGEST_FILE_BYTES: Final = 256 * 1024
LARGEST_TOGETHER_BYTES: Final = 1024 * 1024


def check_together(files: Mapping[str, str]) -> None:
    """Raises `InvalidField` for files that cannot be in one folder, or are too much for it. Each is right by itself."""
    fault = _fault(files)
    if fault is not None:
        raise InvalidField(f"'/config_files' cannot be used: {fault}", fields=[FieldProblem("/config_files", fault)])


def _fault(files: Mapping[str, str]) -> str | None:
    if len(files) > MOST_FILES:
        return f"a service has at most {MOST_FILES} config files, and these would be {len(files)}"
    size_bytes = sum(len(text.encode()) for text in files.values())
    if size_bytes > LARGEST_TOGETHER_BYTES:
        return f"config files have at most {LARGEST_TOGETHER_BYTES} bytes together, and these have {size_bytes}"
    for name in files:
        parts = name.split("/")
        folders = ("/".join(parts[:depth]) for depth in range(1, len(parts)))
        taken = next((folder for folder in folders if folder in files), None)
        if taken is not None:
            return f"'{taken}' is a file, and '{name}' needs it as a folder"
    return None
