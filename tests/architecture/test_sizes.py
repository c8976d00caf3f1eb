"""Modules and functions stay small enough to read at one sitting."""

import ast

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, FunctionNode, Tree, report

MODULE_LINES = 400
FUNCTION_LINES = 40
WRITTEN_OUT = ("state/migrations/versions/*",)  # a revision is one list of columns and is never edited again


def long_modules(tree: Tree) -> list[Finding]:
    return [
        Finding(source.path, lines, f"{lines} lines, and a module has at most {MODULE_LINES}: give a part its own noun")
        for source in (*tree.product, *tree.compiled, *tree.tests)
        if (lines := len(source.text.splitlines())) > MODULE_LINES
    ]


def long_functions(tree: Tree) -> list[Finding]:
    return [
        source.finding(node, f"{node.name} has {lines} lines, and a function at most {FUNCTION_LINES}: name its steps")
        for source in tree.product
        if not source.is_any_of(WRITTEN_OUT)
        for node in ast.walk(source.syntax)
        if isinstance(node, FunctionNode) and (lines := code_lines(node)) > FUNCTION_LINES
    ]


def code_lines(node: FunctionNode) -> int:
    """Lines from `def` to the end, without the docstring: explaining must not be punished."""
    total = (node.end_lineno or node.lineno) - node.lineno + 1
    docstring = node.body[0] if ast.get_docstring(node) is not None else None
    return total - ((docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0)


def test_no_module_is_longer_than_its_limit(repository: Tree) -> None:
    assert not (found := long_modules(repository)), report(found)


def test_no_product_function_is_longer_than_its_limit(repository: Tree) -> None:
    assert not (found := long_functions(repository)), report(found)


def test_a_long_module_and_a_long_function_are_found(small_tree: SmallTree) -> None:
    body = "    pass\n" * FUNCTION_LINES
    tree = small_tree(
        {
            "core/long.py": "x = 1\n" * (MODULE_LINES + 1),
            "tests/core/test_long.py": "x = 1\n" * (MODULE_LINES + 1),
            "core/fits.py": "x = 1\n" * MODULE_LINES,
            "serving/long.cpp": "// x\n" * (MODULE_LINES + 1),
            "api/routes.py": f'class A:\n  async def act():\n    """One\n    two."""\n{body}',
            "api/fits.py": f'def act():\n    """One\n    two."""\n{body[:-9]}',
        }
    )
    assert [found.path for found in long_modules(tree)] == [
        "core/long.py",
        "serving/long.cpp",
        "tests/core/test_long.py",
    ]
    assert [(found.path, found.line) for found in long_functions(tree)] == [("api/routes.py", 2)]
