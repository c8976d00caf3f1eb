"""The hashed locks are in step with pyproject.toml: `make lock` rebuilds them."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from requirements.lock import lock_inputs, locks_apart

OURS = ("tests", "product", "serving", "bootstrap", "build")
LOCKS = (
    *OURS,
    *("azure", "compiler", "generator", "kserve", "mlserver", "replicate", "schemathesis", "triton", "webhooks"),
    *("peer-bentoml", "peer-litserve", "peer-mlserver", "peer-triton"),
)


@dataclass(frozen=True)
class Pin:
    """One line of a lock."""

    name: str
    version: str
    marker: str
    hashes: int


def pins(lock: str) -> dict[str, Pin]:
    """The pins of a lock's text by name."""
    found: dict[str, Pin] = {}
    for entry in re.split(r"(?<!\\)\n", lock):
        if not entry or entry.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s*\\\n\s*", entry)
        parsed = Requirement(requirement)
        assert str(parsed.specifier).startswith("=="), f"{requirement} is not one version: run `make lock`"
        name = canonicalize_name(parsed.name)
        found[name] = Pin(name, str(parsed.specifier)[2:], str(parsed.marker or ""), len(hashes))
    return found


def unmet(requirements: list[str], locked: dict[str, Pin]) -> list[str]:
    """The requirements that the lock does not satisfy here."""
    wanted = [Requirement(line) for line in requirements]
    return [
        str(requirement)
        for requirement in wanted
        if requirement.marker is None or requirement.marker.evaluate()
        if (pin := locked.get(canonicalize_name(requirement.name))) is None
        or not requirement.specifier.contains(pin.version, prereleases=True)
        or (pin.marker and not Marker(pin.marker).evaluate())
    ]


@pytest.fixture(scope="module")
def locked(repository_root: Path) -> dict[str, dict[str, Pin]]:
    return {name: pins((repository_root / f"requirements/{name}.txt").read_text("utf-8")) for name in LOCKS}


@pytest.mark.parametrize("lock", LOCKS)
def test_each_lock_satisfies_pyproject(lock: str, locked: dict[str, dict[str, Pin]], repository_root: Path) -> None:
    inputs = lock_inputs(repository_root / "pyproject.toml")
    assert set(inputs) == set(LOCKS)
    assert unmet(inputs[lock], locked[lock]) == [], "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_is_hashed_and_is_what_the_tests_use(
    lock: str, locked: dict[str, dict[str, Pin]], repository_root: Path
) -> None:
    assert [pin.name for pin in locked[lock].values() if not pin.hashes] == []
    if lock in locks_apart(repository_root / "pyproject.toml"):
        return
    tested = {name: pin.version for name, pin in locked["tests"].items()}
    used = {name: pin.version for name, pin in locked[lock].items() if lock in OURS or name in tested}
    assert {name: version for name, version in used.items() if tested[name] != version} == {}


def test_each_dependency_has_a_floor_and_a_ceiling(repository_root: Path) -> None:
    project = tomllib.loads((repository_root / "pyproject.toml").read_text("utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    operators = {line: {part.operator for part in Requirement(line).specifier} for lines in lists for line in lines}
    assert [line for line, used in operators.items() if not used >= {">=", "<"} and used != {"=="}] == []


def test_a_requirement_that_the_lock_does_not_satisfy_is_found() -> None:
    locked = pins("a==1.0 \\\n    --hash=sha256:00\nb==2.0 ; sys_platform == 'none' \\\n    --hash=sha256:00\n")
    assert unmet(["A>=1,<2"], locked) == []
    assert unmet(["a>=1.1,<2", "b", "c", "d; sys_platform == 'none'"], locked) == ["a<2,>=1.1", "b", "c"]
