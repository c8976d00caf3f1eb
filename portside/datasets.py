"""Datasets as users hold them, for threads. `async_datasets.py` says the same with `await`."""

import os
from collections.abc import Iterator
from pathlib import Path

from portside.collection import Collection
from portside.deploying import WAIT_S, settled
from portside.facts import DatasetFacts
from portside.messages import Document, Json
from portside.requests import changing, path_to
from portside.sending_data import DataFile, create, download, preview, put_file
from portside.session import finish
from portside.waiting import Pages, Patience


class Dataset(DatasetFacts):
    """Named data that a run reads or writes. Every verb raises `ConnectionFailed` and `ApiError`."""

    __slots__ = ()

    def reload(self) -> "Dataset":
        """As it is now."""
        return Dataset.read(self._session, finish(self._session.get(path_to("datasets", self.name))))

    def wait(self, timeout_s: float = WAIT_S) -> "Dataset":
        """Once it is made. Raises `OperationFailed` for data that cannot be read, and `WaitTimeout`, too."""
        path = path_to("datasets", self.name)
        found = finish(settled(self._session, self._operation_id, path, Patience(timeout_s)))
        return Dataset.read(self._session, found)

    def preview(self, rows: int = 50) -> Document:
        """Its first `rows`, at most 500, each in the order of `columns`."""
        return finish(preview(self._session, self.name, rows))

    def all_columns(self) -> list[Document]:
        """Every column with its type and what was counted in it."""
        items: list[Document] = finish(self._session.get(path_to("datasets", self.name, "columns")))["items"]
        return items

    def download(self, to: str | os.PathLike[str]) -> Path:
        """Its data in this file, which is there whole or not at all. Raises `OSError`, too."""
        return finish(download(self._session, path_to("datasets", self.name, "content"), Path(to)))

    def update(self, **said: Json) -> "Dataset":
        """Change what is said of it: `display_name`, `description`, `tags`; None removes."""
        answer = finish(self._session.send(changing("PATCH", path_to("datasets", self.name), said)))
        return Dataset.read(self._session, answer.document)

    def delete(self) -> None:
        """Delete it; a run that reads it is a `Conflict`."""
        finish(self._session.send(changing("DELETE", path_to("datasets", self.name))))

    def list_files(self, prefix: str = "") -> Iterator[Document]:
        """The files of a dataset of files, in the order of their paths."""
        pages = Pages(self._session, path_to("datasets", self.name, "files"), {"prefix": prefix} if prefix else {})
        while (page := finish(pages.turn())) is not None:
            yield from page

    def put_file(self, path: str, data: DataFile, content_type: str = "application/octet-stream") -> Document:
        """Put a file under its path, in place of one that is there. Raises `OSError`, too."""
        return finish(put_file(self._session, self.name, path, data, content_type))

    def download_file(self, path: str, to: str | os.PathLike[str]) -> Path:
        """One of its files, in this one. Raises `OSError`, too."""
        where = path_to("datasets", self.name, "files", *path.split("/"))
        return finish(download(self._session, where, Path(to)))

    def delete_file(self, path: str) -> None:
        """Delete one of its files."""
        where = path_to("datasets", self.name, "files", *path.split("/"))
        finish(self._session.send(changing("DELETE", where)))


class Datasets(Collection[Dataset]):
    """All datasets. Every verb raises `ConnectionFailed` and `ApiError`."""

    def create(
        self,
        name: str,
        data: DataFile | None = None,
        *,
        wait: bool = True,
        timeout_s: float = WAIT_S,
        **said: Json,
    ) -> Dataset:
        """A dataset of a path, a seekable binary file or bytes, which are streamed; or of what is `said`.

        `source_uri` with `reference` and `credentials`, `dataset` (a copy) or `upload` say where the data are;
        `format`, `delimiter`, `has_header`, … what is known of them; `kind="files"` makes one of an archive, or empty.
        Raises `OSError`, `InvalidInput`, `OperationFailed` for data that cannot be read, and `WaitTimeout`, too.
        """
        made, operation_id = finish(create(self._session, name, data, said, Patience(timeout_s), wait=wait))
        return Dataset.read(self._session, made, _operation_id=operation_id)
