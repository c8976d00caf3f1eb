"""Broken data files against the child that reads them: it says what is wrong, or what is in them, and never dies."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES_PER_CHILD = 50
LONGEST_S = 100.0  # for one file; what takes longer ends its child, which is found


@dataclass
class Treated:
    """What became of files: how many were read, refused with which code, and what ended a child."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For people."""
        return [*(f"{count:6} {what}" for what, count in self.outcomes.most_common()), *self.faults]


def treat(files: Iterable[tuple[str, bytes]], folder: Path, *, longest_s: float = LONGEST_S) -> Treated:
    """Let children treat these files; those that end a child stay in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    treated, paths = Treated(), []
    for name, content in files:
        path = folder / name
        path.write_bytes(content)
        paths.append(path)
        if len(paths) == FILES_PER_CHILD:
            _treat(paths, treated, longest_s)
            paths = []
    _treat(paths, treated, longest_s)
    return treated


def _treat(paths: Sequence[Path], treated: Treated, longest_s: float) -> None:
    left = list(paths)
    while left:
        command = [sys.executable, "-m", "tests.fuzz.data_child", str(longest_s), *map(str, left)]
        done = subprocess.run(command, capture_output=True, check=False)
        began: Path | None = None
        for line in done.stdout.splitlines():
            told = json.loads(line)
            if "began" in told:
                began = Path(told["began"])
                left.remove(began)
            else:
                _count(told, treated)
                Path(told["ended"]).unlink()
                began = None
        if began is None and done.returncode == 0:
            return
        error = done.stderr.decode("utf-8", "replace").strip()[-1500:]
        treated.faults.append(f"{began or left[0]}: ended the child with {done.returncode}: {error}")
        if began is None:
            return


def _count(told: dict[str, Any], treated: Treated) -> None:
    treated.outcomes[f"described: {told.get('code', 'read')}"] += 1
    treated.outcomes[f"unpacked: {told['unpack']}"] += 1
