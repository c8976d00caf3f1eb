"""Which URLs name a store, and what the others are told."""

from pathlib import Path

import pytest

from storage.local import LocalStore
from storage.open import UnsupportedStoreUrl, open_store
from tests.storage.streams import pieces_of


async def test_a_file_url_opens_that_folder_blanks_and_all(tmp_path: Path) -> None:
    folder = tmp_path / "my data ü"
    store = open_store(folder.as_uri())
    assert isinstance(store, LocalStore)
    assert not folder.exists(), "opening alone makes nothing"
    stored = await store.put(pieces_of(b"x"))
    assert store.path(stored.digest).is_relative_to(folder)
    await store.close()


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "minio://host", "/var/lib/artifacts", ""])
def test_another_scheme_is_told_which_exist(url: str) -> None:
    with pytest.raises(UnsupportedStoreUrl, match=r"the schemes that exist are: file://"):
        open_store(url)


@pytest.mark.parametrize("url", ["file://host/share", "file:relative", "file://", "file:///"])
def test_a_file_url_must_name_a_folder_of_this_machine(url: str) -> None:
    with pytest.raises(UnsupportedStoreUrl, match="does not name a folder"):
        open_store(url)
