"""What a document may say: each field, and what is wrong with a value in a few words."""

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from cli.operating import DURATION, UNIT_S

NAME = re.compile(r"[a-z]([a-z0-9-]{0,46}[a-z0-9])?")
# What is wrong with a value, or nothing.
Check: TypeAlias = Callable[[object], str | None]

ADDRESS = re.compile(r"https?://[^\s/]+(/\S*)?")
DIGEST = re.compile(r"[0-9a-f]{64}")
CPU = re.compile(r"\d{1,9}(\.\d{1,9})?m?")
MEMORY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]{0,2})")
MIB = 1024 * 1024
SCALE: Mapping[str, int] = {
    "": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip


def text(given: object) -> str | None:
    """Any text; YAML reads `on`, `1.0` and dates as something else unless they are quoted."""
    return None if isinstance(given, str) else "must be text: put it in quotes"


def name(given: object) -> str | None:
    """A name as models and services have it."""
    if isinstance(given, str) and NAME.fullmatch(given):
        return None
    return "must be 1 to 48 lower-case letters, digits and '-', a letter first and no '-' at the end"


def address(given: object) -> str | None:
    """An HTTP address."""
    if isinstance(given, str) and ADDRESS.fullmatch(given):
        return None
    return "must be an address that begins with https:// or http://"


def digest(given: object) -> str | None:
    """A SHA-256, as `sha256sum` prints it."""
    return (
        None if isinstance(given, str) and DIGEST.fullmatch(given) else "must be 64 hexadecimal digits, in lower case"
    )


def version(given: object) -> str | None:
    """`3`, `latest`, `@alias`, `sha256:…`."""
    if (isinstance(given, int) and not isinstance(given, bool) and given > 0) or (isinstance(given, str) and given):
        return None
    return "must be a version: 3, latest, '@champion' (an alias, in quotes) or sha256:…"


def count(given: object) -> str | None:
    """A whole number from 1 on."""
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return None
    return "must be a whole number, 1 or more"


def truth(given: object) -> str | None:
    """True or false."""
    return None if isinstance(given, bool) else "must be true or false"


def texts(given: object) -> str | None:
    """A list of texts."""
    if isinstance(given, list) and all(isinstance(each, str) for each in given):
        return None
    return "must be a list of texts"


def variables(given: object) -> str | None:
    """Names and texts."""
    if isinstance(given, dict) and all(isinstance(key, str) and isinstance(given[key], str) for key in given):
        return None
    return "must be names with texts: put numbers, yes and no in quotes"


def runtime(given: object) -> str | None:
    """What is pinned of a runtime."""
    parts = ("engine", "engine_version", "python")
    if isinstance(given, dict) and all(part in parts and isinstance(given[part], str) for part in given):
        return None
    return f"must have {', '.join(parts)} or some of them, each a text in quotes"


def resources(given: object) -> str | None:
    """`cpu` and `memory` as Kubernetes writes them."""
    if not isinstance(given, dict) or not set(given) <= {"cpu", "memory", "gpu"}:
        return "must have cpu, memory or both"
    if "cpu" in given and CPU.fullmatch(str(given["cpu"])) is None:
        return "cpu must be a number of cores such as 2, 0.5 or 500m"
    found = MEMORY.fullmatch(str(given.get("memory", "1Gi")))
    return None if found and found[2] in SCALE else "memory must be a size such as 512Mi or 1Gi"


def cores(given: object) -> float:
    """A checked `cpu` as a number."""
    written = str(given)
    return float(written[:-1]) / 1000 if written.endswith("m") else float(written)


def seconds(given: object) -> object:
    """A duration such as `15m` as a number; anything else as it is, for the platform to refuse."""
    found = DURATION.fullmatch(given) if isinstance(given, str) else None
    return given if found is None else int(found[1]) * UNIT_S[found[2]]


def memory(given: object) -> str:
    """A checked `memory` as the platform shows it: MiB, rounded up."""
    found = MEMORY.fullmatch(str(given))
    assert found
    size_bytes = float(found[1]) * SCALE[found[2]]
    return f"{int(-(-size_bytes // MIB))}Mi"


def character(given: object) -> str | None:
    """What stands between cells, or around them."""
    return None if isinstance(given, str) and given else "must be a character in quotes, or 'tab'"


def plain(given: object) -> str | None:
    """What JSON has, too; the platform knows what is right."""
    if isinstance(given, dict):
        inside = [None if isinstance(key, str) else "must have names: put them in quotes" for key in given]
        return next((wrong for wrong in [*inside, *map(plain, given.values())] if wrong), None)
    if isinstance(given, list):
        return next((wrong for wrong in map(plain, given) if wrong), None)
    is_plain = given is None or isinstance(given, str | int | float)
    return None if is_plain else "must have its dates and times in quotes"


def fields(given: object) -> str | None:
    """An object of the platform's."""
    return plain(given) if isinstance(given, dict) else "must be fields with values"


def schedule(given: object) -> str | None:
    """When a job runs by itself; nothing takes that away."""
    return None if given is None else fields(given)


def script(given: object) -> str | None:
    """A file beside the document, and what it needs."""
    parts = ("file", "entry", "requirements", "python")
    if isinstance(given, dict) and isinstance(given.get("file"), str) and set(given) <= set(parts):
        return plain(given)
    return f"must have a file, beside its document, and perhaps {', '.join(parts[1:])}"


ABOUT: Mapping[str, Check] = {"display_name": text, "description": text, "tags": texts}
FIELDS: Mapping[str, Mapping[str, Check]] = {
    "model": {"name": name, "file": text, "source": address, "sha256": digest, **ABOUT},
    "dataset": {
        "name": name,
        "file": text,
        "folder": text,
        "source": text,
        "reference": truth,
        "format": text,
        "compression": text,
        "delimiter": character,
        "quote": character,
        "encoding": text,
        "has_header": truth,
        "null_values": texts,
        **ABOUT,
    },
    "service": {
        "name": name,
        "model": name,
        "version": version,
        "follow": truth,
        "replicas": count,
        "resources": resources,
        "runtime": runtime,
        "env": variables,
        "config_files": variables,
        **ABOUT,
    },
    "job": {
        "name": name,
        "model": name,
        "version": version,
        "part": text,
        "input": fields,
        "output": fields,
        "mapping": fields,
        "pass_through": plain,
        "on_error": plain,
        "chunk_rows": count,
        "parallelism": count,
        "file_name": text,
        "script": script,
        "inputs": fields,
        "outputs": fields,
        "resources": resources,
        "env": variables,
        "args": texts,
        "run_name": text,
        "retries": fields,
        "timeout_s": count,
        "after": name,
        "schedule": schedule,
        **ABOUT,
    },
}
# How a dataset is read, where it is not to be found.
READ_AS = ("format", "compression", "delimiter", "quote", "encoding", "has_header", "null_values")
# What they say is never shown: it may be secret.
SEALED = ("env", "config_files")
REQUIRED: Mapping[str, tuple[str, ...]] = {
    "model": ("name",),
    "dataset": ("name",),
    "service": ("name", "model"),
    "job": ("name",),
}
