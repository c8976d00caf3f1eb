"""Public signatures say what goes in and what comes out: no `Any`."""

import ast
from collections.abc import Iterator

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, FunctionNode, Tree, report

# "path:function" → why the type cannot be said.
ALLOWED: dict[str, str] = {}


def untold_signatures(tree: Tree, allowed: dict[str, str] = ALLOWED) -> list[Finding]:
    return [
        source.finding(function, f"{function.name} says Any in its signature: name the type, or object")
        for source in tree.product
        for function in _public_functions(source.syntax)
        if f"{source.path}:{function.name}" not in allowed and any(map(_says_any, _annotations(function)))
    ]


def _public_functions(scope: ast.AST) -> Iterator[FunctionNode]:
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from _public_functions(node)
        elif isinstance(node, FunctionNode):
            if not node.name.startswith("_") or node.name in {"__init__", "__call__"}:
                yield node
        elif isinstance(node, ast.If | ast.Try):
            yield from _public_functions(node)


def _annotations(function: FunctionNode) -> Iterator[ast.expr]:
    arguments = function.args
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra):
        if argument.annotation:
            yield argument.annotation
    if function.returns:
        yield function.returns


def _says_any(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    return any(
        (isinstance(part, ast.Name) and part.id == "Any") or (isinstance(part, ast.Attribute) and part.attr == "Any")
        for part in ast.walk(annotation)
    )


def test_no_public_signature_says_any(repository: Tree) -> None:
    assert not (found := untold_signatures(repository)), report(found)


def test_each_any_in_a_public_signature_is_found(small_tree: SmallTree) -> None:
    code = (
        "def a(x: Any) -> None: ...\n"
        "async def b(*, x: dict[str, typing.Any]) -> None: ...\n"
        "class C:\n    def c(self) -> 'list[Any]': ...\n    def __init__(self, **x: Any) -> None: ...\n"
        "def _d(x: Any) -> None: ...\n"
        "class _E:\n    def e(self, x: Any) -> None: ...\n"
        "def f(x: object) -> None: ...\n"
        "def g(x: Any) -> None: ...\n"
    )
    tree = small_tree({"core/a.py": code})
    assert [found.line for found in untold_signatures(tree, {"core/a.py:g": "a foreign hook"})] == [1, 2, 4, 5]
