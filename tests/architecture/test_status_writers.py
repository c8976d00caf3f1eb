"""Only `state/` writes a status: everything else asks `state.advance` for a move."""

import ast
from collections.abc import Iterator

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, Source, Tree, report

# `serving` and `portside` are islands that never see a row; there a status is an HTTP one.
UNCHECKED = ("state/*", "serving/*", "portside/*")


def status_writers(tree: Tree) -> list[Finding]:
    return [
        source.finding(node, "a status is written outside state/: use a move (an HTTP status is `status_code`)")
        for source in tree.product
        if not source.is_any_of(UNCHECKED)
        for node in _writes(source)
    ]


def _writes(source: Source) -> Iterator[ast.AST]:
    for node in ast.walk(source.syntax):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            if any(isinstance(part, ast.Attribute) and part.attr == "status" for part in parts if _is_stored(part)):
                yield node
        elif isinstance(node, ast.Call) and _sets_status(node):
            yield node


def _is_stored(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", None), ast.Store)


def _sets_status(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id == "setattr" and len(call.args) > 1 and _is_status(call.args[1])
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in {"values", "update"}:
        return False
    keywords = call.func.attr == "values" and any(keyword.arg == "status" for keyword in call.keywords)
    keys = (key for argument in call.args if isinstance(argument, ast.Dict) for key in argument.keys)
    return keywords or any(key is not None and (_is_status(key) or _is_column(key)) for key in keys)


def _is_status(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == "status"


def _is_column(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "status"


def test_only_state_writes_a_status(repository: Tree) -> None:
    assert not (found := status_writers(repository)), report(found)


def test_each_way_of_writing_a_status_is_found(small_tree: SmallTree) -> None:
    lines = (
        "row.status = 'running'",
        "row.status: str = 'running'",
        "a, row.status = 1, 'running'",
        "setattr(row, 'status', 'running')",
        "update(Run).values(status='running')",
        "update(Run).values({'status': 'running'})",
        "query.update({Run.status: 'running'})",
    )
    reads = "if row.status == 'running':\n    seen = row.status\n    row.status.name = 1\n"
    tree = small_tree({"workers/a.py": "\n".join(lines), "api/b.py": reads, "state/advance.py": lines[0]})
    assert [found.line for found in status_writers(tree)] == list(range(1, len(lines) + 1))
