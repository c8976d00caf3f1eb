"""Writes serving/engines/pmml_classes.txt: `python tests/serving/engines/make_class_list.py`.

Run it after an update of PyPMML or Java. Names that a Java does not know cost nothing; missing ones load more slowly.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "serving" / "engines" / "pmml_classes.txt"
HEADING = (
    "# The Java classes that the PMML models in examples/ need, in the order in which they are loaded.",
    "# Made by tests/serving/engines/make_class_list.py; pmml_archive.py hands it to Java.",
)


def main() -> None:
    """One Java per model; what all of them loaded is written."""
    names: dict[str, None] = {}
    for model in sorted((ROOT / "examples").glob("*.pmml")):
        names |= dict.fromkeys(loaded_by(model))
    TARGET.write_text("\n".join((*HEADING, *names)) + "\n", encoding="utf-8")
    print(f"{len(names)} lines in {TARGET.relative_to(ROOT)}")


def loaded_by(model: Path) -> list[str]:
    """The classes and lambdas that inspecting this model loads."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "loaded"
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "JAVA_TOOL_OPTIONS": f"-XX:DumpLoadedClassList={listed}",
        }
        command = [sys.executable, "-P", "-m", "serving", "inspect", str(model)]
        subprocess.run(command, env=environment, capture_output=True, timeout=180, check=True)
        return [found for line in listed.read_text("utf-8").splitlines() if (found := portable(line))]


def portable(line: str) -> str:
    """The line without what holds for one run only; nothing for a comment and for a class made at run time."""
    if line.startswith("@"):
        # Resolved constants are good only for a stricter kind of archive, which gains nothing measurable here.
        return "" if line.startswith("@cp") else line
    return "" if line.startswith("#") or " source: " in line else line.partition(" ")[0]


if __name__ == "__main__":
    main()
