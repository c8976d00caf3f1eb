"""The import contracts of pyproject.toml bite, and know every room."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import ROOMS, Tree

# One breach of each contract: the importing module, what it imports, and words of the contract's name.
BREACHES = (
    ("core/clock.py", "state.tables", "imports go down only"),
    ("state/queries.py", "storage.base", "imports go down only"),
    ("api/app.py", "workers.actors", "never actors"),
    ("portside/client.py", "serving.server", "are islands"),
    ("serving/server.py", "core.clock", "islands import no room"),
    ("cli/main.py", "serving.server", "no room imports an island"),
    ("cli/demo.py", "deploy.stack.topology", "no room imports deploy"),
    ("storage/local.py", "minio", "minio"),
    ("workers/watcher.py", "kubernetes_asyncio.client", "kubernetes_asyncio"),
    ("workers/executor.py", "dramatiq", "dramatiq"),
    ("workers/relay.py", "redis", "redis"),
    ("portside/session.py", "httpx2", "httpx2"),
    ("cli/main.py", "fastapi", "fastapi"),
    ("api/pages.py", "sqlalchemy.orm", "sqlalchemy"),
    ("serving/server.py", "onnxruntime", "onnxruntime"),
    ("serving/server.py", "grpc", "grpc only in api"),
)
# What the plan allows must not be reported.
ALLOWED = (
    ("workers/broker/inprocess.py", "dramatiq.brokers.stub"),
    ("workers/broker/redis.py", "redis"),
    ("serving/engines/onnx.py", "onnxruntime"),
    ("storage/s3.py", "minio"),
    ("portside/transport.py", "httpx2"),
    ("state/tables.py", "sqlalchemy"),
    ("cli/main.py", "workers.boot"),
    ("k8s/client.py", "kubernetes_asyncio"),
    ("api/app.py", "fastapi"),
    ("api/gateway/grpc.py", "grpc"),
)


def lint_imports(root: Path) -> str:
    """What import-linter says about a tree: a line for each contract, KEPT or BROKEN."""
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--no-cache", "--config", "pyproject.toml"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, env={"COLUMNS": "200"}, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def rooms(small_tree: SmallTree, repository: Tree) -> dict[str, str]:
    """Empty rooms under our contracts, and a module for each import that the tests write."""
    files = {"pyproject.toml": (repository.root / "pyproject.toml").read_text("utf-8")}
    files |= {f"{room}/__init__.py": "" for room in (*ROOMS, "serving/engines", "workers/broker")}
    named = {path for path, *_ in (*BREACHES, *ALLOWED)}
    imported = {
        target.replace(".", "/") + ".py" for _, target, *_ in (*BREACHES, *ALLOWED) if target.split(".")[0] in ROOMS
    }
    return files | dict.fromkeys(sorted(named | imported), "")


def test_the_contracts_know_every_room(repository: Tree) -> None:
    settings = tomllib.loads((repository.root / "pyproject.toml").read_text("utf-8"))["tool"]
    assert set(settings["importlinter"]["root_packages"]) == set(ROOMS)
    wheel = settings["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) == {*ROOMS, "examples"}
    assert set(wheel["sources"]) == {*ROOMS, "examples"} - {"portside"}


def test_each_breach_of_a_layer_or_door_is_reported(small_tree: SmallTree, rooms: dict[str, str]) -> None:
    for path, target, _ in BREACHES:
        rooms[path] += f"import {target}\n"
    said = lint_imports(small_tree(rooms).root)
    broken = [line for line in said.splitlines() if "BROKEN" in line]
    assert [words for *_, words in BREACHES if not any(words in line for line in broken)] == [], said
    assert "KEPT" not in said, "a contract is kept by a tree that breaks all of them"
    for path, target, _ in BREACHES:
        importer = path.removesuffix(".py").replace("/", ".")
        assert f"{importer} -> {target.split('.')[0]}" in said, said


def test_what_the_plan_allows_is_not_reported(small_tree: SmallTree, rooms: dict[str, str]) -> None:
    for path, target in ALLOWED:
        rooms[path] += f"import {target}\n"
    said = lint_imports(small_tree(rooms).root)
    assert "BROKEN" not in said, said
    assert "KEPT" in said, said
