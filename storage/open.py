"""The door where the scheme of a URL chooses the backend."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit
from urllib.request import url2pathname

from storage.access import Patience, S3Access
from storage.base import ArtifactStore
from storage.local import LocalStore


class UnsupportedStoreUrl(ValueError):
    """The setting names a store that this build does not have; a mistake of the operator, found at start."""


def open_store(url: str, access: S3Access | None = None) -> ArtifactStore:
    """The store behind `file:///DIR`, which need not exist yet, or `s3://BUCKET/PREFIX`, whose bucket must.

    Nothing is asked of an S3 server yet. Raises UnsupportedStoreUrl.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return _open_bucket(parts, access)
    if parts.scheme != "file":
        scheme = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise UnsupportedStoreUrl(
            f"The artifact store URL has {scheme}; the schemes that exist are: file:// (file:///var/lib/artifacts) "
            "and s3:// (s3://bucket/prefix)."
        )
    path = Path(url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or path == Path("/"):
        raise UnsupportedStoreUrl(
            f"{url!r} does not name a folder of this machine: write file:// and an absolute path, file:///var/lib/artifacts."
        )
    return LocalStore(path)


def sign_object(bucket: str, key: str, access: S3Access, lasts: timedelta) -> str:
    """A URL that gives the object for a while. Raises ValueError that names what is wrong."""
    from storage.s3 import signed_url  # for the same reason as below

    return signed_url(bucket, key, access, lasts)


def _open_bucket(parts: SplitResult, access: S3Access | None) -> ArtifactStore:
    # The client library takes 0.3 s to import, which a platform with a folder need not pay.
    from storage.remote import S3Store
    from storage.s3 import S3Bucket

    if parts.query or parts.fragment or "@" in parts.netloc or ":" in parts.netloc:
        raise UnsupportedStoreUrl(
            "The artifact store URL is s3://BUCKET/PREFIX and nothing more: address and keys have settings of their "
            "own, PORTSIDE_S3_ENDPOINT, PORTSIDE_S3_ACCESS_KEY and PORTSIDE_S3_SECRET_KEY."
        )
    if access is None:
        raise UnsupportedStoreUrl("An s3:// store needs PORTSIDE_S3_ACCESS_KEY and PORTSIDE_S3_SECRET_KEY.")
    prefix = parts.path.strip("/")
    try:
        return S3Store(S3Bucket(parts.netloc, access, Patience()), f"{prefix}/" if prefix else "")
    except ValueError as error:
        raise UnsupportedStoreUrl(str(error)) from error
