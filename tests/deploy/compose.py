"""The compose file as YAML, and a set of secrets as a user makes them."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from deploy.stack.compose import COMPOSE_FILE, read_variables

ROOT = COMPOSE_FILE.parent


@cache
def document() -> dict[str, Any]:
    """The file, anchors and merges resolved, variables not."""
    found: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text("utf-8"))
    return found


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def fresh_secrets(folder: Path) -> dict[str, str]:
    """What deploy/secrets.sh prints."""
    file = folder / "env"
    script = ["/bin/sh", str(ROOT / "deploy" / "secrets.sh")]
    file.write_text(subprocess.run(script, capture_output=True, text=True, check=True).stdout, "utf-8")
    return read_variables(file)
