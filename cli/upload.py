"""A model file on its way to the platform: hashed, streamed, watched."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cli.client import Platform
from cli.failure import CommandFailed, Exit
from portside.deploying import upload_request
from portside.messages import Answer
from portside.sources import FileSource, Watch

UPLOAD_TIMEOUT_S = 600.0  # between two pieces, and until the last attempt begins


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model file: here, or at a URL from which the platform fetches it; then `file` is but its name."""

    file: Path
    url: str | None = None

    @classmethod
    def read(cls, given: str) -> "Artifact":
        """Raises `CommandFailed` for a file that cannot be read."""
        if given.lower().startswith(("https://", "http://")):
            return cls(Path(unquote(urlsplit(given).path)), given)
        return cls(check_file(Path(given)))


def check_file(file: Path, wanted: str = "an ONNX or PMML file") -> Path:
    """The file, when it can be read. Raises `CommandFailed`."""
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise CommandFailed(f"{file} {what}: name {wanted}.", exit_status=Exit.USAGE)
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read ({error.strerror}).", exit_status=Exit.USAGE) from error


def upload(platform: Platform, file: Path, model: str, watch: Watch = lambda size: None) -> Answer:
    """Send the file as a new version of the model, which is made where there is none. Raises `CommandFailed`."""
    request = upload_request(FileSource(file, watch), model)
    return platform.send(
        request.method, request.path, request.body, headers=request.headers, timeout_s=UPLOAD_TIMEOUT_S
    )


def size_in_words(size_bytes: int) -> str:
    """`14 kB`, `1.2 GB`."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
