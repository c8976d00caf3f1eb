"""Lets pages of other origins call the platform (the Fetch standard's CORS protocol), where the operator names them."""

from collections.abc import Sequence
from typing import Final

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

# Of our answers: what a page may read beside what it always may.
EXPOSED: Final = (
    "Accept-Ranges", "Allow", "Content-Disposition", "Content-Range", "ETag", "Idempotent-Replayed", "Location",
    "Operation-Location", "Portside-Replica", "Preference-Applied", "Retry-After", "WWW-Authenticate", "X-Request-Id",
)  # fmt: skip
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
PREFLIGHT_S: Final = 600


class CrossOrigin:
    """The platform with an answer to preflights, and to pages of the origins leave to read theirs.

    A page sends its token itself, in `Authorization`: cookies and a browser's own credentials are not let through.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=("*",),
            expose_headers=EXPOSED,
            max_age=PREFLIGHT_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._app(scope, receive, send)
