"""How an S3 server is reached and how long we wait for it: values, known without the client library."""

from dataclasses import dataclass, field
from typing import Self

from core.settings import Settings


@dataclass(frozen=True, slots=True)
class S3Access:
    """Address and keys of one S3 account; without an endpoint it is Amazon's for the region."""

    endpoint: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say; nothing is checked here."""
        return cls(
            settings.s3_endpoint or f"https://s3.{settings.s3_region}.amazonaws.com",
            settings.s3_region,
            settings.s3_access_key or "",
            settings.s3_secret_key or "",
        )


def is_within(path: str, place: str) -> bool:
    """Whether an object, `BUCKET/KEY`, is in `BUCKET` or below `BUCKET/PREFIX`, whole names compared."""
    return path.startswith(place.strip("/") + "/")


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of one request; a server that stalls costs at most `(repeats + 1) * read_s` before we say so."""

    connect_s: float = 10.0  # also what sending one part may take: 0.5 MiB/s is the slowest line that works
    read_s: float = 10.0
    repeats: int = 2  # of a request that broke off or got no answer
    reconnects: int = 6  # of a part that found nobody listening: 7 s, which a server's restart takes
