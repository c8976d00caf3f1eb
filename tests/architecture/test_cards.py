"""Each room has a card on its door and each module says what it is for."""

import ast

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, Tree, report

WITH_NAMES = ("portside/__init__.py",)  # users import from it; see ADR 19
MOST_MODULE_DOCSTRING_LINES = 12  # a card or the drawing of the error tree; five is the habit


def packages_without_a_card(tree: Tree) -> list[Finding]:
    """`__init__.py` is a docstring and nothing else: no re-exports, no code at import."""
    return [
        source.finding(
            source.syntax, "an __init__.py is one docstring: what lives here, what it may import, what never"
        )
        for source in tree.product
        if source.is_package
        and not (ast.get_docstring(source.syntax) and (len(source.syntax.body) == 1 or source.is_any_of(WITH_NAMES)))
    ]


def folders_without_a_card(tree: Tree) -> list[Finding]:
    packages = {source.path for source in tree.product if source.is_package}
    folders = {source.path.rpartition("/")[0] for source in tree.product}
    return [
        Finding(f"{folder}/__init__.py", 1, "this folder holds modules and has no card: write its __init__.py")
        for folder in sorted(folders)
        if f"{folder}/__init__.py" not in packages and folder != "state/migrations/versions"
    ]


def modules_without_a_docstring(tree: Tree) -> list[Finding]:
    found = []
    for source in (*tree.product, *tree.tests):
        docstring = ast.get_docstring(source.syntax)
        if docstring is None and source.syntax.body:
            found.append(source.finding(source.syntax, "a module opens with what it is for and the one thing to know"))
        elif docstring and len(docstring.splitlines()) > MOST_MODULE_DOCSTRING_LINES and not source.is_package:
            found.append(
                source.finding(source.syntax, "the opening docstring is an essay: move it to docs/explanation")
            )
    return found


def test_every_package_has_only_its_card(repository: Tree) -> None:
    found = packages_without_a_card(repository) + folders_without_a_card(repository)
    assert not found, report(found)


def test_every_module_says_what_it_is_for(repository: Tree) -> None:
    assert not (found := modules_without_a_docstring(repository)), report(found)


def test_missing_cards_and_docstrings_are_found(small_tree: SmallTree) -> None:
    tree = small_tree(
        {
            "core/__init__.py": '"""A card."""\n',
            "api/__init__.py": '"""A card."""\nfrom api.app import app\n',
            "state/__init__.py": "",
            "portside/__init__.py": '"""A card."""\nx = 1\n',
            "workers/boot.py": "x = 1\n",
            "tests/test_a.py": "x = 1\n",
        }
    )
    assert [found.path for found in packages_without_a_card(tree)] == ["api/__init__.py", "state/__init__.py"]
    assert [found.path for found in folders_without_a_card(tree)] == ["workers/__init__.py"]
    assert [found.path for found in modules_without_a_docstring(tree)] == ["workers/boot.py", "tests/test_a.py"]
