"""Virtual environments for other people's packages, installed from a hashed lock as their users would have them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests" / "fixtures" / "clients"
SCRIPT_S = 240
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
# uv reads none of pip's settings: what they are called there.
HANDED_OVER = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_CERT": "SSL_CERT_FILE"}


def make_environment(folder: Path, lock: str) -> Path:
    """An environment with what `requirements/<lock>.txt` holds and nothing else; answers its Python."""
    uv, python = str(Path(sys.executable).with_name("uv")), folder / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True, cwd=folder.parent)
    locked = ["--require-hashes", "--requirement", str(ROOT / "requirements" / f"{lock}.txt")]
    command = [uv, "pip", "install", "--quiet", "--python", str(python), *locked]
    environment = {**os.environ, **dict(handed_over())}
    # What the cache holds needs no network.
    for options in (["--offline"], []):
        done = subprocess.run([*command, *options], env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return python
    raise AssertionError(f"requirements/{lock}.txt cannot be installed: {done.stderr}")


def run_script(python: Path, script: str, *arguments: str, path: Path | None = None) -> None:
    """Run one of the `SCRIPTS` in an environment; an assertion says what it printed when it fails.

    What lies in the folder `path` can be imported by it.
    """
    _succeed([str(python), str(SCRIPTS / script), *arguments], path)


def run_block(python: Path, page: Path, module: str, shown: str, real: str, path: Path | None = None) -> str:
    """What the block of a page prints that imports the module, with the real address for the one that is shown."""
    (block,) = (text for text in PYTHON_BLOCK.findall(page.read_text("utf-8")) if f"from {module}" in text)
    assert shown in block
    return _succeed([str(python), "-c", block.replace(shown, real)], path)


def _succeed(command: list[str], path: Path | None) -> str:
    environment = {**os.environ, **({} if path is None else {"PYTHONPATH": str(path)})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=SCRIPT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def handed_over(given: Mapping[str, str] = os.environ) -> Iterator[tuple[str, str]]:
    """What says uv where packages are, where pip has been told so."""
    yield "UV_SYSTEM_CERTS", "1"
    for ours, theirs in HANDED_OVER.items():
        if ours in given and theirs not in given:
            yield theirs, given[ours]
