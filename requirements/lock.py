"""Rebuilds the hashed locks from pyproject.toml: `make lock`.

The tests lock is resolved first and constrains the others, so that one version of everything is tested and shipped; the
locks that are `apart` hold packages of others which would not go with it.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).resolve().parent


def lock_inputs(pyproject: Path) -> dict[str, list[str]]:
    """The requirements that each lock must satisfy, by lock name, tests first."""
    document = tomllib.loads(pyproject.read_text("utf-8"))
    project, locks = document["project"], document["tool"]["portside"]["locks"]
    serving, both = set(locks["serving"]), set(locks["both"])
    named = {canonicalize_name(Requirement(line).name): line for line in project["dependencies"]}
    if unknown := sorted((serving | both) - set(named)):
        raise LookupError(f"[tool.portside.locks] names {unknown}, which [project] dependencies does not: correct one")
    everything = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    return {
        "tests": [*everything, *locks["bootstrap"], *locks["build"]],
        "product": [line for name, line in named.items() if name not in serving or name in both],
        "serving": [line for name, line in named.items() if name in serving],
        "bootstrap": locks["bootstrap"],
        "build": locks["build"],
        **locks["clients"],
    }


def locks_apart(pyproject: Path) -> list[str]:
    """The locks that the tests lock does not constrain."""
    found: list[str] = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["portside"]["locks"]["apart"]
    return found


def compile_lock(uv: str, name: str, requirements: list[str], *, constrained: bool, upgrade: bool) -> None:
    """Write `requirements/<name>.txt`: hashed, for every platform and Python that we support, without addresses."""
    command = [
        *(uv, "pip", "compile", "-", "--output-file", f"requirements/{name}.txt", "--quiet", "--generate-hashes"),
        *("--universal", "--python-version", "3.11", "--fork-strategy", "fewest", "--no-annotate"),
        *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make lock", "--system-certs"),
        *(["--upgrade"] if upgrade else []),
        *(["--constraint", "requirements/tests.txt"] if constrained else []),
    ]
    subprocess.run(command, input="\n".join(requirements), text=True, check=True, cwd=HERE.parent)


def main() -> None:
    """Rebuild every lock; `--upgrade` takes the newest versions instead of keeping what still fits."""
    uv, *options = sys.argv[1:]
    pyproject = HERE.parent / "pyproject.toml"
    unconstrained = ["tests", *locks_apart(pyproject)]
    for name, requirements in lock_inputs(pyproject).items():
        compile_lock(uv, name, requirements, constrained=name not in unconstrained, upgrade="--upgrade" in options)
        print(f"requirements/{name}.txt")


if __name__ == "__main__":
    main()
