"""No import hides in a function, and no two modules need each other. Layers and doors: see test_layers.py."""

import ast
from collections.abc import Iterator

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, FunctionNode, Source, Tree, report

# The only files where an import may stand inside a function: each chooses between costly things that it may not need.
DOORS = (
    "*/open.py",  # a backend is chosen by its URL's scheme
    "workers/boot.py",  # the broker and the target that the settings name
    "cli/main.py",  # a command imports the server that it starts, the client verbs none
    "cli/commands/*.py",
    "serving/__main__.py",  # serve and inspect need different halves
    "tests/*/conftest.py",  # a suite starts only the backends that it asks for
)
BY_NAME = (
    "portside/launcher.py",  # starts the command line without depending on it
    "portside/__init__.py",  # each name that users import from it is loaded when it is asked for (ADR 19)
)


def hidden_imports(tree: Tree) -> list[Finding]:
    found = []
    for source in (*tree.product, *tree.tests):
        if source.is_any_of(DOORS):
            continue
        functions = (node for node in ast.walk(source.syntax) if isinstance(node, FunctionNode | ast.Lambda))
        inside = {node for function in functions for node in ast.walk(function)}
        found += [
            source.finding(node, "an import inside a function: move it up, or the choice into an open.py")
            for node in inside
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        found += [
            source.finding(node, "an import by name hides a dependency: write an import statement")
            for node in ast.walk(source.syntax)
            if isinstance(node, ast.Call) and _is_import_call(node) and not source.is_any_of((*BY_NAME, "tests/*"))
        ]
    return sorted(found, key=str)


def _is_import_call(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in {"import_module", "__import__"}


def import_cycles(tree: Tree) -> list[tuple[str, ...]]:
    """The groups of product modules that need each other, by Tarjan's strongly connected components."""
    modules = {source.module for source in tree.product}
    graph = {source.module: sorted(set(_imported(source, modules)) - {source.module}) for source in tree.product}
    return [tuple(sorted(group)) for group in _components(graph) if len(group) > 1]


def _imported(source: Source, modules: set[str]) -> Iterator[str]:
    for node in ast.walk(source.syntax):
        if isinstance(node, ast.Import):
            names = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(source, node)
            names = [(f"{base}.{alias.name}", base) for alias in node.names]
        else:
            continue
        for longest, shortest in names:
            if longest in modules:
                yield longest
            elif shortest in modules:
                yield shortest


def _absolute(source: Source, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    parts = source.module.split(".")
    kept = parts[: len(parts) - node.level + source.is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _components(graph: dict[str, list[str]]) -> list[list[str]]:
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            cut = stack.index(node)
            groups.append(stack[cut:])
            del stack[cut:]

    for node in graph:
        if node not in index:
            visit(node)
    return groups


def test_no_import_hides_in_a_function(repository: Tree) -> None:
    assert not (found := hidden_imports(repository)), report(found)


def test_no_modules_import_each_other_in_a_circle(repository: Tree) -> None:
    assert import_cycles(repository) == []


def test_hidden_imports_are_found(small_tree: SmallTree) -> None:
    hidden = "def act():\n    if True:\n        from state import tables\n"
    tree = small_tree(
        {
            "api/app.py": hidden,
            "storage/open.py": hidden,
            "core/clock.py": "import importlib\nzone = importlib.import_module('zoneinfo')\n",
            "tests/api/test_app.py": "async def test_a():\n    import api\n",
        }
    )
    assert [found.path for found in hidden_imports(tree)] == ["api/app.py", "core/clock.py", "tests/api/test_app.py"]


def test_import_circles_are_found(small_tree: SmallTree) -> None:
    tree = small_tree(
        {
            "state/__init__.py": '"""A card."""\n',
            "state/a.py": "from state import b\n",
            "state/b.py": "from .c import thing\n",
            "state/c.py": "def f():\n    import state.a\n",
            "state/d.py": "from state.a import thing\n",
        }
    )
    assert import_cycles(tree) == [("state.a", "state.b", "state.c")]
