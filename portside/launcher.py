"""Finds the server's rooms and starts the command line.

In a wheel the rooms lie in `portside/_server/`, because `api` or `core` at a user's top level would collide with their
own code; in a clone they lie beside this package.
"""

import gc
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

# Objects. Python's own is 700, and to look for garbage among what an import makes, where there is none, takes a fifth
# of `portside --help`.
COLLECT_AFTER = 50_000
USUAL_THRESHOLDS = gc.get_threshold()


def rooms_folder(package: Path) -> Path:
    """The folder that holds the rooms of the installation whose `portside` package is given."""
    installed = package / "_server"
    return installed if installed.is_dir() else package.parent


def main() -> int:
    """Run the `portside` command; returns its exit status.

    The rooms go first on the path: a user may stand in a folder with an `api` of their own.
    """
    gc.set_threshold(COLLECT_AFTER)
    # Pydantic would read the metadata of everything installed, to find plugins that nobody is to put into a server.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    sys.path.insert(0, str(rooms_folder(Path(__file__).resolve().parent)))
    # By name, not by an import statement: the client package must stay free of the server.
    command: Callable[[], int | None] = import_module("cli.main").main
    return command() or 0
