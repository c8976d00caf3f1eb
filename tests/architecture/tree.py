"""The repository as the architecture checks see it: rooms, Python files, their syntax trees.

Every check is a function from a `Tree` to findings, so that a test can prove on a small tree that the check bites.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

ROOMS = ("api", "cli", "core", "k8s", "portside", "serving", "state", "storage", "workers")

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Finding:
    """One place where the code and the plan differ."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Source:
    """One file, mostly of Python; `path` is relative to the root, with slashes."""

    path: str
    text: str

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @cached_property
    def syntax(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def is_any_of(self, patterns: tuple[str, ...]) -> bool:
        """Whether one of the patterns (`workers/*.py`; a star also crosses slashes) names this file."""
        return any(fnmatch(self.path, pattern) for pattern in patterns)

    def finding(self, node: ast.AST, message: str) -> Finding:
        return Finding(self.path, getattr(node, "lineno", 1), message)


@dataclass(frozen=True)
class Tree:
    """A repository root with the files in it that are ours."""

    root: Path

    @cached_property
    def product(self) -> tuple[Source, ...]:
        """The Python files of the rooms that exist."""
        return tuple(source for room in ROOMS for source in self._sources(room))

    @cached_property
    def compiled(self) -> tuple[Source, ...]:
        """The files of the rooms that a compiler reads."""
        paths = sorted(path for room in ROOMS for path in (self.root / room).rglob("*.[ch]pp"))
        return tuple(Source(path.relative_to(self.root).as_posix(), path.read_text("utf-8")) for path in paths)

    @cached_property
    def tests(self) -> tuple[Source, ...]:
        return tuple(self._sources("tests"))

    def _sources(self, folder: str) -> Iterator[Source]:
        for path in sorted((self.root / folder).rglob("*.py")):
            yield Source(path.relative_to(self.root).as_posix(), path.read_text("utf-8"))


def report(findings: list[Finding]) -> str:
    """The findings as the message of a failed assertion."""
    return "\n" + "\n".join(map(str, findings))
