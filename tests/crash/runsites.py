"""Installations on which runs are killed: the real scorer or its stand-in, and what a run begins with."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from core.secrets import Vault
from state.jobtables import Job
from tests.crash.artifacts import onnx_artifact
from tests.crash.forge import ROOT
from tests.crash.installation import Installation
from tests.workers.node.world import SCORER
from tests.workers.runrows import LAYOUT, SIGNATURE, Ground, numbers

COLUMNS: Final = ("sepal_length", "sepal_width", "petal_length", "petal_width")
FLOWERS: Mapping[str, Any] = {"format": "csv", "columns": [{"name": name, "type": "float64"} for name in COLUMNS]}
NO_KEY = Vault(bytes(32))  # nothing of a run in a campaign is sealed


@dataclass(frozen=True)
class Workpiece:
    """What a run scores, so that it has some twenty chunks; one row is bad."""

    model: bytes
    signature: Mapping[str, Any]
    data: bytes
    layout: Mapping[str, Any]
    spec: Mapping[str, Any]

    async def lay_out(self, ground: Ground) -> Job:
        """A job on an installation."""
        await ground.version(self.model, signature=self.signature)
        await ground.dataset(self.data, layout=self.layout)
        return await ground.job(**self.spec)


def flowers(rows: int, bad: int) -> bytes:
    """A CSV of so many flowers, one of which has no width."""
    places = [(4 + row % 40 / 10, 2 + row % 20 / 10, 1 + row % 60 / 10, row % 25 / 10) for row in range(rows)]
    lines = [",".join(f"{place:.1f}" for place in each) for each in places]
    lines[bad] = "4.0,many,1.0,0.2"
    return (",".join(COLUMNS) + "\n" + "\n".join(lines) + "\n").encode()


def for_the_stand_in(rows: int = 2000) -> Workpiece:
    """Rows that the stand-in doubles."""
    return Workpiece(b"a model", SIGNATURE, numbers(rows, bad=(777,)), LAYOUT, {"chunk_rows": 100})


def for_the_scorer(rows: int = 40_000) -> Workpiece:
    """Flowers for a real classifier."""
    data = flowers(rows, bad=777)
    model = ROOT / "examples" / "iris.onnx"
    said = subprocess.check_output([sys.executable, "-m", "serving", "inspect", str(model)], cwd=ROOT)
    spec = {"chunk_rows": rows // 20, "pass_through": "*"}
    return Workpiece(onnx_artifact("runs").content, json.loads(said), data, FLOWERS, spec)


def stand_in_interpreter(folder: Path, pause_ms: int = 25) -> Path:
    """A program in the place of the model server's interpreter: it gives batches to the stand-in."""
    file = folder / "interpreter"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(
        "#!/bin/sh\n"
        f'if [ "$4" = batch ]; then shift 4; PAUSE_MS={pause_ms} exec {sys.executable} -I -S {SCORER} "$@"; fi\n'
        f'exec {sys.executable} "$@"\n',
        "utf-8",
    )
    file.chmod(0o755)
    return file


def scorers(site: Installation) -> list[psutil.Process]:
    """Every scorer of an installation that lives, whoever started it."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "--ack-fd" in words and any(str(site.folder) in each for each in words):
            found.append(process)
    return found


def leftovers(site: Installation) -> list[str]:
    """Folders of processes of runs that nobody removed."""
    return [path.name for path in site.folder.glob("**/scratch/*/*") if path.is_dir()]
