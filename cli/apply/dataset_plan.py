"""What an apply would do with a declared dataset. Its data never change: others take the place of it, as a whole."""

from collections.abc import Mapping
from typing import Any

from cli.apply.change import DIGEST_MARKS, MARK, Change, about, change_of, marks, path_of, told
from cli.apply.documents import Declared
from cli.apply.fields import READ_AS
from cli.apply.folder_plan import plan_folder
from cli.apply.sources import artifact_digest
from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit


def plan_dataset(platform: Platform, one: Declared) -> Change:
    """Raises `CommandFailed` where other data were to take the place of some that no apply has made."""
    if one.folder is not None:
        return plan_folder(platform, one, one.folder)
    found = platform.find(path_of("dataset", one.name))
    said = about(one, found)
    read_as = {name: one.fields[name] for name in READ_AS if name in one.fields}
    data = _data(one)
    if found is None:
        return change_of(one, None, {}, {**data, **read_as, **said}, {**read_as, **said}, uploads=True)
    before, after = told(found, said), told(said, said)
    is_other = _data_of(found, data) != data or found["status"] == "failed" or _is_read_otherwise(one, found)
    if is_other:
        _check_may_go(one, found)
        before = {**_data_of(found, data), "status": found["status"], **before}
        after = {**data, **read_as, "status": "ready", **after}
    return change_of(one, found, before, after, {**read_as, **said} if is_other else said, uploads=is_other)


def _data(one: Declared) -> dict[str, Any]:
    """What tells these data from others: the digest of a file, the place of a source."""
    if one.file is not None:
        return {"digest": artifact_digest(one)}
    return {"source": one.fields["source"], "reference": bool(one.fields.get("reference"))}


def _data_of(found: Document, data: Mapping[str, Any]) -> dict[str, Any]:
    shown = {"digest": found["digest"], "source": found["source_uri"], "reference": found["reference"]}
    return {name: shown[name] for name in data}


def _is_read_otherwise(one: Declared, found: Document) -> bool:
    """Whether the last apply has said something else of its format; what was said by hand nobody knows."""
    mark = DIGEST_MARKS["read_as"]
    is_ours = MARK in found["tags"]
    return is_ours and {tag for tag in found["tags"] if tag.startswith(mark)} != set(marks(one))


def _check_may_go(one: Declared, found: Document) -> None:
    if MARK not in found["tags"]:
        raise CommandFailed(
            f"{one.place}: {one}: the platform has one with other data, which no apply has made.",
            details=[f"next: take another name, or: portside datasets delete {one.name}"],
            exit_status=Exit.CONFLICT,
        )
