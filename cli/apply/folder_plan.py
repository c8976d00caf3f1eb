"""What an apply would do with a dataset of files: those of a folder beside its document, file by file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cli.apply.change import COLLECTIONS, MARK, Change, about, change_of, path_of, told
from cli.apply.documents import Declared
from cli.client import Platform
from cli.datasets import file_path, put_file
from cli.failure import CommandFailed, Exit
from cli.output import Output
from portside.sources import digest_of

SHOWN: Final = 20  # files of a change
DIGEST_SHOWN: Final = 19  # of its characters: enough to tell two apart
Files = Mapping[str, str]  # the digest of each, by its path


def plan_folder(platform: Platform, one: Declared, folder: Path) -> Change:
    """Raises `CommandFailed` where the name is a table's, or files that no apply has put were to go."""
    found = platform.find(path_of("dataset", one.name))
    said = about(one, found)
    here = _files_here(folder)
    if found is None:
        return change_of(one, None, {}, {"files": _shown(here, list(here)), **said}, said, uploads=True)
    if found["kind"] != "files":
        raise _in_the_way(one, "is a table")
    there = _files_there(platform, one.name)
    others = sorted(path for path in {*here, *there} if here.get(path) != there.get(path))
    if others and MARK not in found["tags"]:
        raise _in_the_way(one, "has other files, which no apply has put")
    before, after = told(found, said), told(said, said)
    if others:
        before, after = {"files": _shown(there, others), **before}, {"files": _shown(here, others), **after}
    return change_of(one, found, before, after, said, uploads=bool(others))


def put_folder(change: Change, folder: Path, platform: Platform, output: Output) -> None:
    """Make the dataset, or change what is said of it; then its files. What was put already is not sent again.

    Raises `CommandFailed`.
    """
    if change.action == "create":
        platform.call("POST", COLLECTIONS["dataset"], {"name": change.name, "kind": "files", **change.wish})
    elif any(change.before.get(name) != change.after.get(name) for name in change.wish):
        platform.call("PATCH", change.path, change.wish)
    here, there = _files_here(folder), _files_there(platform, change.name)
    for path in sorted(there.keys() - here.keys()):  # first: a folder may have become a file
        platform.call("DELETE", file_path(change.name, path))
    for path in (each for each in here if here[each] != there.get(each)):
        put_file(platform, change.name, folder / path, path, output)


def _files_here(folder: Path) -> Files:
    """Plain files below the folder but for hidden ones, in the order of their paths."""
    files = {}
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        if file.is_file() and not file.is_symlink() and not any(part.startswith(".") for part in path.parts):
            files[path.as_posix()] = digest_of(file)
    return files


def _files_there(platform: Platform, name: str) -> Files:
    listed = platform.items(f"{path_of('dataset', name)}/files", page_size=500)
    return {str(each["path"]): str(each["digest"]) for each in listed}


def _shown(files: Files, paths: Sequence[str]) -> dict[str, str]:
    shown = {path: files[path][:DIGEST_SHOWN] for path in paths[:SHOWN] if path in files}
    return {**shown, "…": f"{len(paths) - SHOWN} more"} if len(paths) > SHOWN else shown


def _in_the_way(one: Declared, what: str) -> CommandFailed:
    return CommandFailed(
        f"{one.place}: {one}: the platform has one that {what}.",
        details=[f"next: take another name, or: portside datasets delete {one.name}"],
        exit_status=Exit.CONFLICT,
    )
