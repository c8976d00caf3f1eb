"""The environment variables that a service may give to its replicas."""

import re
from collections.abc import Mapping
from typing import Final

from api.validation import escaped
from core.errors import FieldProblem, InvalidField

ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LARGEST_ENV_VALUE, LARGEST_ENV, MOST_ENV = 32 * 1024, 256 * 1024, 200
# Each with what would go wrong.
RESERVED_ENV: Final = (
    (re.compile(r"PORTSIDE_.*"), "names that begin with PORTSIDE_ are given by the platform"),
    (re.compile(r"PYTHON.*"), "it would change the interpreter of the model server"),
    # OpenSSL and OpenMP load what theirs name, glibc what it converts characters with.
    (
        re.compile(r"(LD|DYLD|OPENSSL|OMP_TOOL)_.*|OMP_TOOL|GCONV_PATH|LOCPATH|MALLOC_TRACE"),
        "it would change which libraries the model server loads, or what it writes",
    ),
    (re.compile(r"PATH"), "the model server's own programs are found by it"),
    (re.compile(r"_?JAVA_.*|JDK_.*"), "it would change the Java machine and its memory limit"),
)  # fmt: skip


def check_env(given: Mapping[str, str | None]) -> None:
    """Raises `InvalidField` naming each variable that cannot be given to a replica, and why."""
    problems = [
        FieldProblem(f"/env/{escaped(name[:80])}", fault)
        for name, value in given.items()
        if (fault := _env_fault(name, value or "")) is not None
    ]
    if len(given) > MOST_ENV or sum(len(value or "") for value in given.values()) > LARGEST_ENV:
        problems.append(FieldProblem("/env", f"at most {MOST_ENV} variables with 256 KiB of values together"))
    if problems:
        raise InvalidField(f"'{problems[0].pointer}' cannot be used: {problems[0].detail}", fields=problems[:50])


def _env_fault(name: str, value: str) -> str | None:
    if ENV_NAME.fullmatch(name) is None or len(name) > 200:
        return "a name has letters, digits and '_', no digit first, at most 200 characters"
    for pattern, why in RESERVED_ENV:
        if pattern.fullmatch(name):
            return f"this variable cannot be set: {why}; use another name"
    if len(value.encode()) > LARGEST_ENV_VALUE:
        return f"a value has at most {LARGEST_ENV_VALUE} bytes"
    return None
