"""The program that stands in for the model server's interpreter where the campaign is about the platform alone."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.crash.artifacts import EXAMPLES
from tests.crash.forge import ROOT

STAND_IN = Path(__file__).with_name("standin.py")
VERBS = {"inspect": [str(EXAMPLES / "iris.onnx")], "runtimes": []}


def server_interpreter(folder: Path) -> Path:
    """A file for `PORTSIDE_SERVING_PYTHON`: it says what the real one says of the iris classifier, and starts fast."""
    folder.mkdir(parents=True)
    for verb, words in VERBS.items():
        command = [sys.executable, "-m", "serving", verb, *words]
        (folder / f"{verb}.json").write_bytes(subprocess.check_output(command, cwd=ROOT))
    shutil.copyfile(EXAMPLES / "iris.onnx.expected.json", folder / "expected.json")
    file = folder / "interpreter"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {STAND_IN} {folder} "$@"\n', "utf-8")
    file.chmod(0o755)
    return file
