"""Quantities as Kubernetes writes them (`500m` cores, `512Mi` bytes), and the names of what is deployed."""

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

MIB: Final = 1024 * 1024
SCALE: Final[Mapping[str, int]] = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
QUANTITY: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]{0,2})")
DURATION: Final = re.compile(r"(\d{1,9})([smhd])")
UNITS: Final[Mapping[str, str]] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
LEAST_LIFETIME, MOST_LIFETIME = timedelta(seconds=1), timedelta(days=3650)
MOST_GPUS = 16
LEAST_CPU, MOST_CPU = 0.01, 1024.0
LEAST_MEMORY_MB, MOST_MEMORY_MB = 96, 16 * 1024 * 1024


def read_cpu(given: object) -> object:
    """Cores as a number: `2`, `0.5`, `"500m"`."""
    if given is None or isinstance(given, bool):
        return given
    if isinstance(given, int | float):  # also a third of one, which has more digits than a text may
        return _cores(given)
    text = given if isinstance(given, str) else ""
    number, milli = (text[:-1], True) if text.endswith("m") else (text, False)
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", number) is None:
        raise PydanticCustomError("cpu", "cpu is a number of cores such as 2, 0.5 or '500m'")
    return _cores(float(Decimal(number) / 1000 if milli else Decimal(number)))


def _cores(cores: float) -> float:
    if not LEAST_CPU <= cores <= MOST_CPU:
        raise PydanticCustomError("cpu", "cpu is between 10m and 1024 cores")
    return float(cores)


def read_memory_mb(given: object) -> object:
    """MiB, rounded up: `"512Mi"`, `"1Gi"`, `"500M"` or bytes."""
    if given is None or isinstance(given, bool | float):
        return given
    match = QUANTITY.fullmatch(str(given)) if isinstance(given, int | str) else None
    if match is None or match[2] not in SCALE:
        raise PydanticCustomError("memory", "memory is a size such as '512Mi', '1Gi', '500M', or a number of bytes")
    memory_mb = math.ceil(Decimal(match[1]) * SCALE[match[2]] / MIB)
    if not LEAST_MEMORY_MB <= memory_mb <= MOST_MEMORY_MB:
        raise PydanticCustomError("memory", "memory is between 96Mi and 16Ti; a model server does not start in less")
    return memory_mb


def read_duration(given: object) -> timedelta | None:
    """A duration: `"90s"`, `"30m"`, `"12h"`, `"7d"`; nothing where this is none."""
    match = DURATION.fullmatch(given) if isinstance(given, str) else None
    return None if match is None else timedelta(**{UNITS[match[2]]: int(match[1])})


def read_lifetime(given: object) -> object:
    """How long a service lives, as a duration."""
    if given is None:
        return given
    lifetime = read_duration(given)
    if lifetime is None:
        raise PydanticCustomError("duration", "this is a duration such as '90s', '30m', '12h' or '7d'")
    if not LEAST_LIFETIME <= lifetime <= MOST_LIFETIME:
        raise PydanticCustomError("duration", "a service lives between 1s and 3650d; without an end leave this out")
    return lifetime


def read_port(given: object) -> object:
    """`"auto"`, a port's number or nothing."""
    if given is None or given == "auto" or (isinstance(given, int) and not isinstance(given, bool)):
        return given
    raise PydanticCustomError("port", "port is 'auto', a number such as 31000, or null for none")


def read_version(given: object) -> object:
    """A version's number may come as a number."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _either(number: JsonDict, pattern: str, *examples: JsonValue) -> WithJsonSchema:
    kinds: list[JsonValue] = [number, {"type": "string", "pattern": pattern}, {"type": "null"}]
    return WithJsonSchema({"anyOf": kinds, "examples": [*examples]})


# What the descriptions say of texts is their form; whether the quantity is in the range, only reading it can tell.
Cpu = Annotated[
    float | None,
    BeforeValidator(read_cpu),
    _either({"type": "number", "minimum": LEAST_CPU, "maximum": MOST_CPU}, r"^\d{1,9}(\.\d{1,9})?m?$", 1, "500m"),
]
MemoryMb = Annotated[
    int | None,
    BeforeValidator(read_memory_mb),
    _either(
        {"type": "integer", "minimum": (LEAST_MEMORY_MB - 1) * MIB + 1, "maximum": MOST_MEMORY_MB * MIB},
        r"^\d{1,15}(\.\d{1,9})?([kKMGTP]|[KMGTP]i)?$",
        "512Mi",
        "1Gi",
    ),
]
Gpu = Annotated[
    int | None,
    Field(ge=0, le=MOST_GPUS, description="Without one a replica runs on the processor; with one, never on it alone."),
]
Lifetime = Annotated[
    timedelta | None,
    BeforeValidator(read_lifetime),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": r"^\d{1,9}[smhd]$"}, {"type": "null"}],
            "examples": ["12h"],
            "description": "The platform deletes the service after this time, counted from the request that says it.",
        }
    ),
]
Port = Annotated[
    int | Literal["auto"] | None,
    BeforeValidator(read_port),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {"type": "string", "enum": ["auto"]},
                {"type": "null"},
            ],
            "examples": ["auto", 31000],
            "description": "A port on which the gateway serves this service alone; `auto`: the lowest free one.",
        }
    ),
]
Replicas = Annotated[int, Field(ge=1, le=64)]
ModelName = Annotated[str, Field(min_length=1, max_length=48)]
VersionName = Annotated[
    str,
    BeforeValidator(read_version),
    Field(min_length=1, max_length=80),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "minLength": 1, "maxLength": 80}, {"type": "integer"}],
            "description": "A number, `latest`, `@alias` or `sha256:…`.",
        }
    ),
]
