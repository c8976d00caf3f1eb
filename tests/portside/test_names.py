"""What users import from `portside`: cheap, complete, the same for type checkers, and the same with `await`."""

import ast
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import portside
from portside import (
    async_client,
    async_collection,
    async_datasets,
    async_jobs,
    async_resources,
    client,
    collection,
    datasets,
    errors,
    jobs,
    resources,
)

NAMES: list[str] = vars(portside)["__all__"]  # type checkers are told the names themselves
SOMEONES = ("httpx2", "asyncio", "ssl", "socket", "http.client", "email", "typing_extensions", "pydantic", "typer")


def loaded_after(code: str) -> set[str]:
    """Which modules a fresh Python has after it, beyond those that it begins with."""
    program = f"import sys; before = set(sys.modules); {code}; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_but_its_card() -> None:
    assert {name for name in loaded_after("import portside") if not name.startswith("importlib")} <= {"portside"} | set(
        loaded_after("import importlib")
    )


def test_importing_the_client_loads_neither_httpx2_nor_anything_of_others() -> None:
    assert set(SOMEONES) & loaded_after("from portside import Portside, PortsideError, Service") == set()


def test_a_client_for_threads_loads_httpx2() -> None:
    assert "httpx2" in loaded_after("from portside import Portside; Portside()")


def test_each_name_is_there_and_is_told_to_type_checkers_too() -> None:
    tree = ast.parse(Path(portside.__file__).read_text("utf-8"))
    told = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(NAMES) == told - {None}
    assert set(NAMES) <= set(dir(portside))
    for name in NAMES:
        assert getattr(portside, name).__name__ == name
    with pytest.raises(AttributeError, match="'portside' has no attribute 'nothing'"):
        _ = portside.nothing  # type: ignore[attr-defined]


def test_every_error_is_imported_from_the_package() -> None:
    found = {name for name, kind in classes_of(errors).items() if issubclass(kind, errors.PortsideError)}
    assert found | {"FieldProblem"} <= set(NAMES)


DATA = ("Dataset", "Datasets", "Job", "Run")
MODULES = (
    (resources, async_resources),
    (client, async_client),
    (collection, async_collection),
    (datasets, async_datasets),
    (jobs, async_jobs),
)
PAIRS = [
    (getattr(there, name), getattr(twins, f"Async{name}"))
    for there, twins in MODULES
    for name in ("Model", "Operation", "Prediction", "Service", "Version", "Portside", "Collection", *DATA)
    if hasattr(twins, f"Async{name}") and getattr(there, name).__module__ == there.__name__
]


@pytest.mark.parametrize(("plain", "twin"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_twin_for_asyncio_takes_the_same_and_says_the_same(plain: type, twin: type) -> None:
    verbs = public_verbs(plain)
    assert set(verbs) == set(public_verbs(twin))
    for name, verb in verbs.items():
        twins = public_verbs(twin)[name]
        assert inspect.iscoroutinefunction(twins) or inspect.isasyncgenfunction(twins), name
        assert inspect.getdoc(verb) == inspect.getdoc(twins), name
        given, wanted = inspect.signature(verb), inspect.signature(twins)
        assert list(given.parameters.values()) == list(wanted.parameters.values()), name


def test_all_pairs_are_compared() -> None:
    ours = {name for _, module in MODULES for name in classes_of(module) if "Async" in name}
    assert {twin.__name__ for _, twin in PAIRS} == ours


def classes_of(module: ModuleType) -> dict[str, type]:
    every = {name: kind for name, kind in vars(module).items() if inspect.isclass(kind)}
    return {name: kind for name, kind in every.items() if kind.__module__ == module.__name__}


def public_verbs(kind: type) -> dict[str, Callable[..., object]]:
    return {name: verb for name, verb in vars(kind).items() if inspect.isfunction(verb) and not name.startswith("_")}
