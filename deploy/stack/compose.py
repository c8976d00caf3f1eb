"""Reads docker-compose.yml: what each service runs, with which settings and how often.

Only what `make stack` needs is read; the compose specification's schema checks the rest (tests/deploy).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploy.stack.child import StackFailed

COMPOSE_FILE = Path(__file__).resolve().parents[2] / "docker-compose.yml"
# ${NAME}, ${NAME:-default}, ${NAME:?why it must be there}; $$ is a dollar.
VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<text>[^}]*))?\})")


@dataclass(frozen=True, slots=True)
class ComposeService:
    """One service: its command after the image's entry point, its environment, how many of it."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    replicas: int
    health: tuple[str, ...]
    restart: str


def read_compose(variables: Mapping[str, str], file: Path = COMPOSE_FILE) -> dict[str, ComposeService]:
    """All services by name, the variables filled in. Raises `StackFailed` for a required one that is not there."""
    document: dict[str, Any] = _filled(yaml.safe_load(file.read_text("utf-8")), variables)
    return {name: _service(name, service) for name, service in document["services"].items()}


def read_variables(file: Path) -> dict[str, str]:
    """An env file's variables: `NAME=value` lines; what follows a ` #` is a comment."""
    lines = (line.partition(" #")[0].strip() for line in file.read_text("utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


def _service(name: str, service: Mapping[str, Any]) -> ComposeService:
    return ComposeService(
        name=name,
        command=tuple(map(str, service.get("command", ()))),
        environment={key: _text(value) for key, value in service.get("environment", {}).items()},
        replicas=service.get("deploy", {}).get("replicas", 1),
        health=tuple(service.get("healthcheck", {}).get("test", ())),
        restart=service.get("restart", "no"),
    )


def _text(value: object) -> str:
    """A YAML value as the container's environment has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _value(match, variables), value)
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    return value


def _value(match: re.Match[str], variables: Mapping[str, str]) -> str:
    name, kind, text = match["name"], match["kind"], match["text"]
    if name is None:
        return "$"
    found = variables.get(name, "")
    if not found and kind == "?":
        raise StackFailed(f"{name} is not set, and the compose file requires it: {text}")
    return found or (text if kind == "-" else "")
