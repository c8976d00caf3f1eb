"""Files of a dataset: what a path may be, and how one is shown."""

import re
from typing import Final
from urllib.parse import quote

from api.links import Links
from api.schemas.base import Answer, Instant
from core.errors import FieldProblem, InvalidField, Json
from state.datatables import Dataset, DatasetFile
from state.documents import instant

LONGEST_PATH: Final = 500
STEP: Final = re.compile(r"[^/\\\x00-\x1f\x7f]+")


class DatasetFileShown(Answer):
    """A file of a dataset; its bytes are at its `url`."""

    path: str
    size_bytes: int
    digest: str
    content_type: str
    created_at: Instant
    url: str


class DatasetFileList(Answer):
    """One page of files, in the order of their paths."""

    items: list[DatasetFileShown]
    next_page_token: str | None


def file_document(file: DatasetFile, row: Dataset, links: Links) -> dict[str, Json]:
    """The file object."""
    return {
        "path": file.path,
        "size_bytes": file.size_bytes,
        "digest": file.digest,
        "content_type": file.content_type,
        "created_at": instant(file.created_at),
        "url": links.to(f"/api/v1/datasets/{row.name}/files/{quote(file.path)}"),
    }


def check_path(path: str) -> None:
    """Raises `InvalidField` unless it names a place below the dataset, in one way only."""
    steps = path.split("/")
    if len(path) > LONGEST_PATH:
        raise _invalid(f"a path has at most {LONGEST_PATH} characters, not {len(path)}", "take a shorter one")
    if any(step in ("", ".", "..") or STEP.fullmatch(step) is None for step in steps):
        raise _invalid(
            f"'{path[:100]!a}' is no path of a file here", "write names with / between, without '..' or a backslash"
        )


def _invalid(detail: str, hint: str) -> InvalidField:
    return InvalidField(f"{detail}; {hint}", fields=[FieldProblem("/path", detail, hint)])
