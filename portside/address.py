"""Which platform to talk to, and how to be let in: arguments, then the environment, then this machine's data folder."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from portside.errors import InvalidAddress, InvalidInput

DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Address:
    """A platform's URL without a slash at its end, and the token to send, if any."""

    url: str
    token: str | None = None

    @classmethod
    def find(cls, url: str | None, token: str | None, environment: Mapping[str, str] = os.environ) -> "Address":
        """From what was given, else `PORTSIDE_API` and `PORTSIDE_TOKEN`. Raises `InvalidAddress`, `InvalidInput`."""
        wanted = (url or environment.get("PORTSIDE_API") or DEFAULT_URL).rstrip("/")
        check_url(wanted)
        return cls(wanted, read_token(token or environment.get("PORTSIDE_TOKEN")))

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine, where no proxy leads."""
        return is_loopback(self.url)


def read_token(given: str | None) -> str | None:
    """The token without the space around it. Raises `InvalidInput` for what cannot be one."""
    token = (given or "").strip()
    if not (token.isascii() and token.isprintable()):
        raise InvalidInput("The token has characters that no token has: give it as it was shown, pst_… .")
    return token or None


def check_url(url: str) -> None:
    """Raises `InvalidAddress` for what is no address of an HTTP server."""
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port  # a number that can be one
    except ValueError as error:
        raise InvalidAddress("is no URL", url) from error
    if not is_one:
        raise InvalidAddress("must begin with http:// or https://", url)


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine's loopback, by name or number."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def folder_token(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token in the data folder of the platform that answers at the URL, where it is one of this user's.

    The folder's `address` file must name the URL: no other server may get to see the token.
    """
    folder = data_folder(environment)
    try:
        if (folder / "address").read_text("utf-8").strip().rstrip("/") != url:
            return None
        return (folder / "token").read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Where `portside up` of this user keeps its data: `PORTSIDE_DATA`, else the system's folder for such things."""
    if given := environment.get("PORTSIDE_DATA"):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "portside"
    # The specification: a path that is not absolute is to be ignored (XDG Base Directory).
    folder = environment.get("XDG_DATA_HOME", "").strip()
    return (Path(folder) if Path(folder).is_absolute() else Path.home() / ".local" / "share") / "portside"
