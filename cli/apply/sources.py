"""Where a model's bytes come from: a file beside its document, or a URL that is fetched and checked by its digest."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import httpx2

from cli.apply.documents import Declared
from cli.failure import CommandFailed
from cli.output import Output
from cli.upload import size_in_words
from portside.sources import digest_of

PIECE_S = 60.0  # between two pieces, not for the whole


def artifact_digest(one: Declared) -> str:
    """`sha256:…` of a declared model's artifact, without fetching anything."""
    return digest_of(one.file) if one.file else f"sha256:{one.fields['sha256']}"


@contextmanager
def artifact_of(one: Declared, output: Output) -> Iterator[Path]:
    """The artifact as a file, for the length of the block. Raises `CommandFailed`."""
    if one.file:
        yield one.file
        return
    source = str(one.fields["source"])
    with tempfile.TemporaryDirectory(prefix="portside-") as folder:
        file = Path(folder) / (PurePosixPath(unquote(urlsplit(source).path)).name or "model")
        found = _fetch(source, file)
        if found != artifact_digest(one):
            raise CommandFailed(
                f"{source} has the digest {found}, not {artifact_digest(one)}: "
                "say the new one where the source was changed on purpose."
            )
        output.say(f"Fetched {size_in_words(file.stat().st_size)} from {source}")
        yield file


def _fetch(source: str, file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with (
            file.open("wb") as handle,
            httpx2.stream("GET", source, follow_redirects=True, timeout=PIECE_S) as response,
        ):
            response.raise_for_status()
            for piece in response.iter_bytes():
                digest.update(piece)
                handle.write(piece)
    except httpx2.HTTPError as error:
        raise CommandFailed(f"{source} cannot be fetched ({str(error) or type(error).__name__}).") from error
    return f"sha256:{digest.hexdigest()}"
