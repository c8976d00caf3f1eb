"""Folders, modules and classes have the names that ARCHITECTURE.md and STYLE.md give them."""

import ast
import re
from pathlib import Path

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import ROOMS, Finding, Tree, report

# A new top-level folder needs an ADR, and then a place here.
TOP_LEVEL = {*ROOMS, "benchmarks", "console", "deploy", "docs", "examples", "requirements", "tests"}
NEVER = {"base_utils", "common", "helper", "helpers", "lib", "misc", "shared", "util", "utils"}
ONLY_AS_MODULES = {"models", "services"}  # the user's models and services: a file per resource in the folders below
PER_RESOURCE = {"api/routes", "api/schemas", "cli/commands", "state/queries", "workers/handlers"}
VAGUE_CLASS = re.compile(r"^Base[A-Z]|(Manager|Helper|Helpers|Util|Utils|Impl)$")


def top_level_folders(root: Path) -> list[Finding]:
    """Python code and data stand only in the folders of the plan; names with a dot are tools' own."""
    return [
        Finding(folder.name, 1, "a new top-level folder needs an ADR and a place in this test")
        for folder in sorted(root.iterdir())
        if folder.is_dir()
        and not folder.name.startswith((".", "__"))
        and folder.name not in {*TOP_LEVEL, "build", "dist"}
    ]


def forbidden_names(tree: Tree) -> list[Finding]:
    found = []
    for source in tree.product:
        *folders, module = source.path.removesuffix(".py").split("/")
        folder = "/".join(folders)
        bad = NEVER.intersection([*folders, module]) | ONLY_AS_MODULES.intersection(folders)
        if module in ONLY_AS_MODULES and folder not in PER_RESOURCE:
            bad.add(module)
        found += [Finding(source.path, 1, f"{name!r} says nothing: name it after what it owns") for name in sorted(bad)]
    return found


def vague_classes(tree: Tree) -> list[Finding]:
    return [
        source.finding(node, f"{node.name}: a protocol has the plain noun, an implementation says how")
        for source in tree.product
        for node in ast.walk(source.syntax)
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name)
    ]


def test_the_repository_has_only_the_folders_of_the_plan(repository: Tree) -> None:
    assert not (found := top_level_folders(repository.root)), report(found)


def test_modules_and_classes_are_named_after_what_they_own(repository: Tree) -> None:
    found = forbidden_names(repository) + vague_classes(repository)
    assert not found, report(found)


def test_names_that_say_nothing_are_found(small_tree: SmallTree) -> None:
    tree = small_tree(
        {
            "api/utils.py": "class RunManager:\n    pass\n",
            "api/routes/models.py": "class Model:\n    pass\n",
            "state/models.py": "class BaseStore:\n    pass\n",
            "workers/services/run.py": "class Basement:\n    pass\n",
            "helpers/x.py": "",
        }
    )
    assert [found.path for found in forbidden_names(tree)] == [
        "api/utils.py",
        "state/models.py",
        "workers/services/run.py",
    ]
    assert [found.path for found in vague_classes(tree)] == ["api/utils.py", "state/models.py"]
    assert [found.path for found in top_level_folders(tree.root)] == ["helpers"]
