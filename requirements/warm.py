"""Compiles to bytecode what the product imports, so that a first start is as quick as the second.

Importing is eight times cheaper than compiling all that is installed: most of it is never imported. Control plane and
model server warm up side by side, one process each: warm.py ROOM...
"""

import ast
import compileall
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path


def foreign_imports(rooms: list[str]) -> list[str]:
    """The modules outside the rooms and the standard library that the rooms import anywhere."""
    ours = {*sys.stdlib_module_names, *rooms}
    names: set[str] = set()
    for room in rooms:
        for source in Path(room).rglob("*.py"):
            for node in ast.walk(ast.parse(source.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names.update(alias.name for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    names.add(node.module)
    return sorted(name for name in names if name.partition(".")[0] not in ours)


def warm(rooms: list[str]) -> None:
    """Compile the rooms and import what they import; what cannot be imported here is the product's own to report."""
    sys.dont_write_bytecode = False
    warnings.simplefilter("ignore")  # a library's complaint about this machine belongs to the run that uses it
    for room in rooms:
        compileall.compile_dir(room, quiet=2)
    for name in foreign_imports(rooms):
        try:
            import_module(name)
        except ImportError:
            continue


def main() -> None:
    """Warm the model server's room and all others at the same time."""
    rooms = sys.argv[1:]
    sides = [[room for room in rooms if (room == "serving") is side] for side in (False, True)]
    with ProcessPoolExecutor(2) as pool:
        for _ in pool.map(warm, [side for side in sides if side]):
            pass


if __name__ == "__main__":
    main()
