"""No file names one machine's folders or a package registry: a clone works anywhere."""

import re
import subprocess
from pathlib import Path

from tests.architecture.conftest import SmallTree
from tests.architecture.tree import Finding, Tree, report

# A path counts at a word's start: not within a URL or a longer path.
MACHINE_PATHS = re.compile(r"(?<![\w.:/}*-])/(?:root|work|home/\w+|Users/\w+|tmp/\w+|mnt/\w+)(?![\w-])")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.org|anaconda\.org|(?<![\w-])--(?:extra-)?index-url|(?<![\w-])--find-links"
)
TEXT = {".py", ".md", ".toml", ".txt", ".sh", ".yml", ".yaml", ".json", ".cfg", ".ini", ".html", ".mako", ""}
ITSELF = "tests/architecture/test_neutral_files.py"


def our_files(root: Path) -> list[Path]:
    """What git keeps or would keep; without git, all that is not in a hidden folder."""
    if (root / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.split("\0")
        return [path for name in names if name and (path := root / name).is_file()]
    return [path for path in root.rglob("*") if path.is_file() and "/." not in f"/{path.relative_to(root).as_posix()}"]


def machine_bound_lines(root: Path) -> list[Finding]:
    return [
        Finding(name, number, f"{match.group()!r} holds on one machine only: say it relative, or leave it out")
        for path in sorted(our_files(root))
        if path.suffix in TEXT and (name := path.relative_to(root).as_posix()) != ITSELF
        for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1)
        for match in (MACHINE_PATHS.search(line), REGISTRIES.search(line))
        if match
    ]


def test_no_file_names_a_machine_or_a_registry(repository: Tree) -> None:
    assert not (found := machine_bound_lines(repository.root)), report(found)


def test_machine_paths_and_registries_are_found(small_tree: SmallTree) -> None:
    # Spelled with ~ and ^ so that this file does not name what no file may name.
    spelled = ("~root~x", "see ~work~main", "'~home~ann~x'", "https:~~pypi^org~simple", "pip --index-url x")
    bad = tuple(text.replace("~", "/").replace("^", ".") for text in spelled)
    good = ("https://host/work/x", "docs/work/x", "$ROOT/root", "/etc/hosts", "/api/v1", "--no-emit-index-url")
    tree = small_tree({"docs/a.md": "\n".join((*bad, *good))})
    assert [found.line for found in machine_bound_lines(tree.root)] == [1, 2, 3, 4, 5]
