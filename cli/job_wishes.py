"""What the options of the verbs about jobs ask for, as the API's documents."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.datasets import REMOTE
from cli.failure import CommandFailed, Exit
from cli.jobs import read_pairs
from cli.yaml_text import read_yaml


@dataclass(frozen=True, slots=True)
class Said:
    """The options of a verb about jobs; None and nothing where they were left out."""

    name: str | None = None
    model: str | None = None
    data: str | None = None
    into: str | None = None
    format: str | None = None
    pass_through: Sequence[str] | None = None
    maps: Sequence[str] | None = None
    on_error: str | None = None
    parallelism: int | None = None
    env: Sequence[str] | None = None
    args: Sequence[str] | None = None
    after: str | None = None


def job_wish(file: Path | None, said: Said) -> dict[str, object]:
    """A job from a file, from options, or from both; options win. Raises `CommandFailed`."""
    wish: dict[str, object] = read_document(file) if file is not None else {}
    wish.setdefault("kind", "script" if "script" in wish else "batch")
    plain = {"name": said.name, "after": said.after, "parallelism": said.parallelism}
    wish |= {name: value for name, value in plain.items() if value is not None} | _model(said.model)
    output = {name: value for name, value in (("name", said.into), ("format", said.format)) if value is not None}
    if output:
        there = wish.get("output")
        wish["output"] = {**(there if isinstance(there, Mapping) else {}), **output}
    wish |= _batch(said)
    if said.maps:
        wish["mapping"] = read_pairs(said.maps, "--map")
    for name, what in (("name", "NAME"), ("model", "--model"), ("input", "--input")):
        if name not in wish and (name == "name" or wish["kind"] == "batch"):
            raise CommandFailed(f"A job needs {what}, or a file (-f) that says it.", exit_status=Exit.USAGE)
    if wish["kind"] == "script" and said.data is not None:
        raise CommandFailed("A script has no --input: say --read NAME=DATASET.", exit_status=Exit.USAGE)
    return wish


def run_wish(said: Said) -> dict[str, object]:
    """What one run has otherwise than its job. Raises `CommandFailed`."""
    wish = _batch(said)
    return wish if said.name is None else {**wish, "name": said.name}


def _batch(said: Said) -> dict[str, object]:
    wish: dict[str, object] = {}
    if said.data is not None:
        if "." in said.data and Path(said.data).is_file():
            raise CommandFailed(
                f"{said.data} is a file here, and a job reads a dataset.",
                details=[f"next: portside datasets create {said.data}"],
                exit_status=Exit.USAGE,
            )
        wish["input"] = {"uri" if said.data.lower().startswith(REMOTE) else "dataset": said.data}
    if said.pass_through:
        wish["pass_through"] = "*" if "*" in said.pass_through else list(said.pass_through)
    if said.on_error is not None:
        wish["on_error"] = on_error(said.on_error)
    if said.env:
        wish["env"] = read_pairs(said.env, "--env")
    if said.args:
        wish["args"] = list(said.args)
    return wish


def on_error(text: str) -> object:
    """`skip`, `fail`, or a number: as many bad rows are let pass. Raises `CommandFailed`."""
    if text not in ("skip", "fail") and not text.isdecimal():
        raise CommandFailed(f"--on-error {text}: write skip, fail or how many may be bad.", exit_status=Exit.USAGE)
    return {"policy": "limit", "limit": int(text)} if text.isdecimal() else text


def read_document(file: Path) -> dict[str, object]:
    """A job's document in YAML or JSON. Raises `CommandFailed`."""
    try:
        found = read_yaml(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CommandFailed(f"{file} cannot be read: {error}", exit_status=Exit.USAGE) from error
    if not isinstance(found, dict):
        raise CommandFailed(f"{file} is no job: it needs fields such as name, model and input.", exit_status=Exit.USAGE)
    return found


def _model(given: str | None) -> dict[str, object]:
    """`iris@3` is version 3, `iris@champion` an alias."""
    if given is None:
        return {}
    model, is_there, version = given.partition("@")
    if not is_there:
        return {"model": model}
    is_alias = not (version.isdecimal() or version == "latest" or version.startswith("sha256:"))
    return {"model": model, "version": f"@{version}" if is_alias else version}
