"""The door where the scheme of a URL chooses the backend."""

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from storage.base import ArtifactStore
from storage.local import LocalStore


class UnsupportedStoreUrl(ValueError):
    """The setting names a store that this build does not have; a mistake of the operator, found at start."""


def open_store(url: str) -> ArtifactStore:
    """The store behind `file:///DIR`, which need not exist yet; raises UnsupportedStoreUrl."""
    parts = urlsplit(url)
    if parts.scheme != "file":
        scheme = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise UnsupportedStoreUrl(
            f"The artifact store URL has {scheme}; the schemes that exist are: file:// (file:///var/lib/artifacts)."
        )
    path = Path(url2pathname(parts.path))
    if parts.netloc not in ("", "localhost") or not path.is_absolute() or path == Path("/"):
        raise UnsupportedStoreUrl(
            f"{url!r} does not name a folder of this machine: write file:// and an absolute path, file:///var/lib/artifacts."
        )
    return LocalStore(path)
