"""A job that runs a script of the user's, from the options of `portside jobs create`: the file travels with the job.

A short text goes into the job itself; a longer one, or an archive, is uploaded first.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from cli.job_wishes import Said, read_document
from cli.jobs import read_pairs

LONGEST_TEXT: Final = 100_000  # bytes; the platform takes 256 KiB
OF_BATCHES: Final = ("model", "data", "into", "format", "pass_through", "maps", "on_error", "parallelism")


@dataclass(frozen=True, slots=True)
class ScriptSaid:
    """The options that only a script has."""

    script: Path | None
    entry: str | None = None
    requirements: Path | None = None
    reads: Sequence[str] | None = None
    models: Sequence[str] | None = None
    registers: Sequence[str] | None = None
    keeps: Sequence[str] | None = None


def script_wish(platform: Platform, file: Path | None, said: Said, script: ScriptSaid) -> dict[str, object]:
    """A job from a file, from options, or from both; options win. Raises `CommandFailed`."""
    if script.script is None:
        raise CommandFailed("The options of a script need --script FILE.", exit_status=Exit.USAGE)
    _refuse_batch(said)
    wish: dict[str, object] = {**(read_document(file) if file is not None else {}), "kind": "script"}
    plain = {"name": said.name, "after": said.after, "args": list(said.args or ()) or None}
    wish |= {name: value for name, value in plain.items() if value is not None}
    if "name" not in wish:
        raise CommandFailed("A job needs NAME, or a file (-f) that says it.", exit_status=Exit.USAGE)
    if said.env:
        wish["env"] = read_pairs(said.env, "--env")
    inputs: dict[str, Mapping[str, object]] = {
        "datasets": read_pairs(script.reads or (), "--read"),
        "models": _models(script.models or ()),
    }
    wish |= _with(wish, "inputs", {name: pairs for name, pairs in inputs.items() if pairs})
    wish |= _with(wish, "outputs", _outputs(script))
    return wish | _with(wish, "script", {**_text(platform, script.script), **_how(script)})


def _with(wish: Mapping[str, object], name: str, more: Mapping[str, object]) -> dict[str, object]:
    """A member of the job, with what the file says of it beside these."""
    there = wish.get(name)
    found = {**(there if isinstance(there, Mapping) else {}), **more}
    return {name: found} if found else {}


def _refuse_batch(said: Said) -> None:
    """Options that a script does not have."""
    wrong = [name for name in OF_BATCHES if getattr(said, name) is not None]
    if wrong:
        option = {"data": "input", "pass_through": "pass", "maps": "map"}.get(wrong[0], wrong[0]).replace("_", "-")
        detail = f"--{option} is of jobs that score; a script reads what --read NAME=DATASET names."
        raise CommandFailed(detail, exit_status=Exit.USAGE)


def _how(script: ScriptSaid) -> dict[str, object]:
    told: dict[str, object] = {} if script.entry is None else {"entry": script.entry}
    if script.requirements is not None:
        told["requirements"] = _read(script.requirements).decode("utf-8", "replace")
    return told


def _models(given: Sequence[str]) -> dict[str, str]:
    """`base=rent@3` is version 3 here, as with `--model`; the API writes it `rent/3`."""
    found = {}
    for name, reference in read_pairs(given, "--read-model").items():
        model, is_there, version = reference.partition("@")
        found[name] = f"{model}/{version}" if is_there and version.isdecimal() else reference
    return found


def _outputs(script: ScriptSaid) -> dict[str, object]:
    """`model.onnx=rent@candidate` makes a version of the model, which the alias then means."""
    found: dict[str, object] = {
        path: {"dataset": name} for path, name in read_pairs(script.keeps or (), "--keep").items()
    }
    for path, reference in read_pairs(script.registers or (), "--register").items():
        model, is_there, alias = reference.partition("@")
        found[path] = {"register": {"model": model, **({"alias": alias} if is_there else {})}}
    return found


def _text(platform: Platform, file: Path) -> Mapping[str, object]:
    content = _read(file)
    if file.suffix == ".py" and len(content) <= LONGEST_TEXT:
        try:
            return {"source": content.decode("utf-8")}
        except UnicodeDecodeError as error:
            raise CommandFailed(f"{file} is not UTF-8: {error.reason}.", exit_status=Exit.USAGE) from error
    return {"file": _uploaded(platform, file.name, content)}


def _uploaded(platform: Platform, name: str, content: bytes) -> str:
    """The id of an uploaded file."""
    boundary = secrets.token_hex(16)
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename={json.dumps(name)}\r\n\r\n'
    body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    made = platform.send("POST", "/api/v1/files", body, headers=headers)
    return str(made.document["id"])


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.", exit_status=Exit.USAGE) from error
