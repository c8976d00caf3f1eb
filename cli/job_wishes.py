"""What the options of the verbs about jobs ask for, as the API's documents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.datasets import REMOTE
from cli.failure import CommandFailed, Exit
from cli.jobs import read_pairs
from cli.yaml_text import read_yaml


def job_wish(file: Path | None, said: Mapping[str, Any]) -> dict[str, object]:
    """A job from a file, from options, or from both; options win. Raises `CommandFailed`."""
    wish: dict[str, object] = read_document(file) if file is not None else {"kind": "batch"}
    for name in ("name", "after"):
        if said[name] is not None:
            wish[name] = said[name]
    wish |= _model(said["model"])
    output = {"name": said["into"], "format": said["format"]}
    if given := {name: value for name, value in output.items() if value is not None}:
        there = wish.get("output")
        wish["output"] = {**(there if isinstance(there, Mapping) else {}), **given}
    wish |= batch_wish(said)
    if said["map"]:
        wish["mapping"] = read_pairs(said["map"], "--map")
    if said["parallelism"] is not None:
        wish["parallelism"] = said["parallelism"]
    for name, what in (("name", "NAME"), ("model", "--model"), ("input", "--input")):
        if name not in wish and (name == "name" or wish.get("kind", "batch") == "batch"):
            raise CommandFailed(f"A job needs {what}, or a file (-f) that says it.", exit_status=Exit.USAGE)
    return wish


def run_wish(said: Mapping[str, Any]) -> dict[str, object]:
    """What one run has otherwise than its job. Raises `CommandFailed`."""
    wish = batch_wish({**said, "pass": None, "on_error": None})
    return {**wish, "name": said["name"]} if said["name"] is not None else wish


def batch_wish(said: Mapping[str, Any]) -> dict[str, object]:
    """What jobs and runs say alike. Raises `CommandFailed`."""
    wish: dict[str, object] = {}
    if said.get("input") is not None:
        wish["input"] = {"uri" if said["input"].lower().startswith(REMOTE) else "dataset": said["input"]}
    if said.get("pass"):
        wish["pass_through"] = "*" if "*" in said["pass"] else said["pass"]
    if said.get("on_error") is not None:
        wish["on_error"] = on_error(said["on_error"])
    if said.get("env"):
        wish["env"] = read_pairs(said["env"], "--env")
    if said.get("arg"):
        wish["args"] = said["arg"]
    return wish


def on_error(text: str) -> object:
    """`skip`, `fail`, or a number: as many bad rows are let pass."""
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
