"""The file of a version, or of one of its parts, onto this machine: in pieces, and whole or not at all."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from cli.client import Document, Platform
from cli.failure import CommandFailed, Exit
from cli.output import Output
from cli.registry import Reference
from cli.transfer import bytes_watched
from cli.upload import size_in_words

PIECE_BYTES = 8 * 1024 * 1024  # of one request: what is held in memory, whatever the size of the model


def download(platform: Platform, text: str, part: str | None, to: Path | None, output: Output) -> None:
    """Write the file to `to`, or to one named after the version in this folder, and print its path.

    Raises `CommandFailed`, and leaves no half of a file then.
    """
    reference = Reference.read(text)
    version = platform.get(reference.version_path)
    named = f"{version['model']}-{version['version']}"
    # By its number from now on: what `latest` and an alias mean may change between two pieces.
    path, about = f"{reference.path}/versions/{version['version']}", version
    if part is not None:
        path, named = f"{path}/parts/{quote(part, safe='')}", f"{named}-{part}"
        about = platform.get(path)
    if not about["digest"]:
        raise CommandFailed(f"{text}: its file is not fetched yet.", exit_status=Exit.CONFLICT)
    file = to or Path(f"{named}.{'zip' if about['format'] == 'parts' else about['format']}")
    if to is None and file.exists():
        raise CommandFailed(f"{file} is here already: say where to with -o FILE.", exit_status=Exit.USAGE)
    _write(platform, f"{path}/artifact", about, file, output)
    output.say(f"{size_in_words(int(about['size_bytes']))}, {about['digest']}")
    output.data(str(file))


def _write(platform: Platform, path: str, about: Document, file: Path, output: Output) -> None:
    """Beside its place first, so that a file that is there stays until the new one is whole."""
    beside, size_bytes, digest = file.with_name(f"{file.name}.partial"), int(about["size_bytes"]), hashlib.sha256()
    try:
        with beside.open("wb") as handle, bytes_watched("download", size_bytes, output) as advance:
            for piece in _pieces(platform, path, size_bytes):
                handle.write(piece)
                digest.update(piece)
                advance(len(piece))
        if f"sha256:{digest.hexdigest()}" != about["digest"]:
            raise CommandFailed(f"What came is not what the platform says it has ({about['digest']}): try again.")
        beside.replace(file)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written ({error.strerror}).", exit_status=Exit.USAGE) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _pieces(platform: Platform, path: str, size_bytes: int) -> Iterator[bytes]:
    for start in range(0, size_bytes, PIECE_BYTES):
        end = min(start + PIECE_BYTES, size_bytes) - 1
        yield platform.send("GET", path, None, headers={"range": f"bytes={start}-{end}"}).body
