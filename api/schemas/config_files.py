"""The config files that a service may give to its replicas: texts by their paths in one folder."""

import re
from collections.abc import Mapping
from typing import Final

from api.schemas.base import at_most, told
from api.validation import escaped
from core.errors import FieldProblem, InvalidField
from state.config_files import LARGEST_FILE_BYTES, MOST_FILES

# What a path in a volume of Kubernetes may be made of as well.
PATH: Final = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
LONGEST_PATH: Final = 200
# The same without names that leave the folder, as the API's description tells it.
NAME_IN_PATH: Final = r"\.?[A-Za-z0-9_-][A-Za-z0-9._-]*"
FILE_PATHS: Final = told(propertyNames={"pattern": f"^{NAME_IN_PATH}(/{NAME_IN_PATH})*$", "maxLength": LONGEST_PATH})
# A patch may take as many away as it brings.
FILES: Final = at_most(2 * MOST_FILES, f"at most {MOST_FILES} files")


def check_config_files(given: Mapping[str, str | None]) -> None:
    """Raises `InvalidField` naming each file that cannot be given to a replica, and why."""
    problems = [
        FieldProblem(f"/config_files/{escaped(path[:LONGEST_PATH])}", fault)
        for path, content in given.items()
        if (fault := _fault(path, content or "")) is not None
    ]
    if problems:
        raise InvalidField(f"'{problems[0].pointer}' cannot be used: {problems[0].detail}", fields=problems[:50])


def _fault(path: str, content: str) -> str | None:
    if PATH.fullmatch(path) is None or len(path) > LONGEST_PATH:
        return (
            f"a path is relative, at most {LONGEST_PATH} characters: names of letters, digits, '.', '_' and '-' with a "
            "'/' between them"
        )
    if any(part.startswith("..") or part == "." for part in path.split("/")):
        return "a path stays in its folder: no name in it is '.' or begins with '..'"
    if len(content.encode()) > LARGEST_FILE_BYTES:
        return f"a config file has at most {LARGEST_FILE_BYTES} bytes"
    return None
