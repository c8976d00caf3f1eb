"""Which URLs name a store, and what the others are told."""

from dataclasses import replace
from pathlib import Path

import pytest

from core.settings import Settings
from storage.access import S3Access
from storage.digests import Digest
from storage.local import LocalStore
from storage.open import UnsupportedStoreUrl, open_store
from storage.remote import S3Store
from tests.storage.streams import pieces_of

NOBODY = S3Access("http://127.0.0.1:9", "us-east-1", "key", "secret")
ZEROS = Digest("0" * 64)


async def test_a_file_url_opens_that_folder_blanks_and_all(tmp_path: Path) -> None:
    folder = tmp_path / "my data ü"
    store = open_store(folder.as_uri())
    assert isinstance(store, LocalStore)
    assert not folder.exists(), "opening alone makes nothing"
    stored = await store.put(pieces_of(b"x"))
    assert store.path(stored.digest).is_relative_to(folder)
    await store.close()


@pytest.mark.parametrize("url", ["minio://host", "/var/lib/artifacts", ""])
def test_another_scheme_is_told_which_exist(url: str) -> None:
    with pytest.raises(UnsupportedStoreUrl, match=r"the schemes that exist are: file://.*s3://"):
        open_store(url)


@pytest.mark.parametrize(("url", "prefix"), [("s3://bucket", ""), ("s3://bucket/", ""), ("s3://bucket/a/b/", "a/b/")])
async def test_an_s3_url_names_a_bucket_and_a_prefix_and_asks_nothing_yet(url: str, prefix: str) -> None:
    store = open_store(url, NOBODY)
    assert isinstance(store, S3Store)
    assert store.key(ZEROS) == f"{prefix}sha256/00/{ZEROS.hex}"
    await store.close()


@pytest.mark.parametrize(
    ("url", "access", "said"),
    [
        ("s3://bucket", None, "PORTSIDE_S3_ACCESS_KEY"),
        ("s3://bucket", replace(NOBODY, secret_key=""), "PORTSIDE_S3_SECRET_KEY"),
        ("s3://key:secret@bucket", NOBODY, "nothing more"),
        ("s3://bucket:9000", NOBODY, "nothing more"),
        ("s3://bucket?region=x", NOBODY, "nothing more"),
        ("s3://Ab", NOBODY, "(?i)bucket"),
        ("s3://ab", NOBODY, "'ab' cannot be the name of a bucket: it has 3 to 63 characters"),
        ("s3://", NOBODY, "(?i)bucket"),
        ("s3://bucket", replace(NOBODY, endpoint="minio:9000"), "PORTSIDE_S3_ENDPOINT"),
        ("s3://bucket", replace(NOBODY, endpoint="http://minio/path"), "PORTSIDE_S3_ENDPOINT"),
    ],
)
def test_an_s3_store_that_cannot_be_is_refused_at_start(url: str, access: S3Access | None, said: str) -> None:
    with pytest.raises(UnsupportedStoreUrl, match=said):
        open_store(url, access)


def test_the_settings_give_address_and_keys_and_amazons_address_by_default() -> None:
    given = Settings(s3_endpoint="http://minio:9000", s3_region="eu", s3_access_key="key", s3_secret_key="hush")
    access = S3Access.of(given)
    assert access == S3Access("http://minio:9000", "eu", "key", "hush")
    assert "hush" not in repr(access) + repr(given)
    assert S3Access.of(Settings(s3_region="eu-west-1")).endpoint == "https://s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize("url", ["file://host/share", "file:relative", "file://", "file:///"])
def test_a_file_url_must_name_a_folder_of_this_machine(url: str) -> None:
    with pytest.raises(UnsupportedStoreUrl, match="does not name a folder"):
        open_store(url)
