"""The repository under check, and small trees to prove that a check bites."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.architecture.tree import Tree

SmallTree = Callable[[dict[str, str]], Tree]


@pytest.fixture(scope="session")
def repository(repository_root: Path) -> Tree:
    return Tree(repository_root)


@pytest.fixture
def small_tree(tmp_path: Path) -> SmallTree:
    """Makes a tree from `{path: text}`."""

    def make(files: dict[str, str]) -> Tree:
        for path, text in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        return Tree(tmp_path)

    return make
