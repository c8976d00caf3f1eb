"""Fetches a model file from a URL into the store: each hop's address checked, hashed, bounded, in constant memory.

A connection that is cut is continued where it broke off, if the source can (RFC 9110, 13.1.5 and 14), else begun anew.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import httpx2

from core.errors import FieldProblem, Rejected, TooLarge, Unavailable
from storage.base import ArtifactStore, Stored
from workers.addresses import AddressRefused, Guard
from workers.calling import Resolve, Unreached, called, is_callable, resolve_by_system, retry_after, target_of

POINTER: Final = "/source_uri"
MOST_REDIRECTS: Final = 5
REDIRECTS: Final = (301, 302, 303, 307, 308)
TEMPORARY: Final = (408, 425, 429)  # and all of 5xx
LONGEST_PAUSE: Final = timedelta(minutes=1)  # that a source may ask for
CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
SHOWN_CHARACTERS: Final = 300
HEADERS: Final = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "portside"}


class SourceRefused(Rejected):
    """The source answered, and does not give the file."""

    code, title = "source_refused", "The source does not give the file"


class SourceForbidden(Rejected):
    """The source, or where it leads to, may not be reached from here."""

    code, title = "source_forbidden", "The source may not be reached"


class SourceTooSlow(Rejected):
    """The file did not arrive within the time that one may take."""

    code, title = "source_timeout", "Fetching the source took too long"


class SourceChanged(Rejected):
    """The file at the source is not the one that was meant any more."""

    code, title = "source_changed", "The source has changed"


class SourceUnavailable(Unavailable):
    """The source is away or breaks off again and again; a later attempt may succeed."""

    code, title = "source_unavailable", "The source is unavailable"


@dataclass(frozen=True, slots=True)
class Limits:
    """`tries` counts those in a row that bring no new byte; the pause between them doubles.

    `setting` raises the `max_bytes`.
    """

    max_bytes: int
    whole_s: float
    connect_s: float = 10.0
    idle_s: float = 30.0
    tries: int = 5
    first_pause_s: float = 0.25
    setting: str = "PORTSIDE_MAX_UPLOAD_BYTES"


# Told after each piece: the bytes so far, and of how many, where the source says that.
Watch = Callable[[int, int | None], Awaitable[None]]
Poured = TypeVar("Poured")
Pour = Callable[[AsyncGenerator[bytes, None]], Awaitable[Poured]]


@dataclass(frozen=True, slots=True)
class Told:
    """What the source says of its file: a validator, as an ETag or a time of change, and its size, if anything."""

    etag: str | None
    total_bytes: int | None


async def fetch(
    uri: str, store: ArtifactStore, limits: Limits, guard: Guard, watch: Watch, resolve: Resolve = resolve_by_system
) -> Stored:
    """Put what the URL gives into the store.

    Raises `SourceRefused`, `SourceForbidden`, `SourceTooSlow`, `TooLarge`: the same URL will not do better by itself;
    `SourceUnavailable` and `StoreUnavailable`, and what `watch` raises.
    """

    async def put(pieces: AsyncGenerator[bytes, None]) -> Stored:
        return await store.put(pieces, max_bytes=limits.max_bytes)

    return (await fetch_into(uri, put, limits, guard, watch, resolve=resolve))[0]


async def fetch_into(
    uri: str,
    pour: Pour[Poured],
    limits: Limits,
    guard: Guard,
    watch: Watch,
    *,
    pinned: str | None = None,
    resolve: Resolve = resolve_by_system,
) -> tuple[Poured, Told]:
    """Pour what the URL gives, from the beginning again where it cannot be continued; and what was told of it.

    With `pinned`, a validator that was told before, the file must still be that one: raises `SourceChanged`. Else
    raises as `fetch` does.
    """
    try:
        source = _Source(target_of(uri), limits, guard, watch, resolve, pinned)
        async with asyncio.timeout(limits.whole_s):
            while True:
                pieces = source.pieces()
                try:
                    return await pour(pieces), source.told
                except _StartOver:
                    continue
                finally:
                    await pieces.aclose()
    except AddressRefused as error:
        raise _told(SourceForbidden, str(error)) from error
    except TooLarge as error:
        detail = f"the file at the source is larger than the limit of {limits.max_bytes} bytes"
        hint = f"name a smaller file, or have {limits.setting} raised"
        problem = FieldProblem(POINTER, detail, hint)
        raise TooLarge(f"{detail}; {hint}", fields=[problem], limit_bytes=limits.max_bytes) from error
    except TimeoutError as error:
        detail = f"the file did not arrive within {limits.whole_s:g} s"
        raise _told(
            SourceTooSlow, detail, "take a source nearer by, or have PORTSIDE_SOURCE_TIMEOUT_S raised"
        ) from error


def without_query(target: httpx2.URL) -> str:
    """The URL as it may be logged: what is asked of the host may be a secret, such as a signature."""
    where = f"{target.scheme}://{target.netloc.decode('ascii')}{target.path}"
    return where[:SHOWN_CHARACTERS] + ("?…" if target.query else "")


class _Busy(Unreached):
    """The source answers that it cannot answer now, and perhaps when to come again."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"it answers {response.status_code}")
        self.pause = retry_after(response.headers.get("retry-after"), LONGEST_PAUSE) or timedelta(0)


class _StartOver(Exception):
    """What was given so far cannot be continued."""


@dataclass(frozen=True, slots=True)
class _Offer:
    """What the first answer said of the file; without a validator it cannot be continued."""

    total_bytes: int | None
    validator: str | None


class _Source:
    """One file at its source, over as many requests as it takes."""

    def __init__(
        self,
        target: httpx2.URL,
        limits: Limits,
        guard: Guard,
        watch: Watch,
        resolve: Resolve,
        pinned: str | None = None,
    ) -> None:
        self._target, self._limits, self._guard, self._watch, self._resolve = target, limits, guard, watch, resolve
        self._pinned = pinned
        self.told = Told(None, None)
        self._patience = httpx2.Timeout(limits.idle_s, connect=limits.connect_s)
        self._furthest_bytes = 0
        self._failures = 0

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The file from its first byte on. Raises `_StartOver`, and what `fetch` does."""
        at_bytes, offer = 0, _Offer(None, None)
        while True:
            why, least = "the connection ended early", timedelta(0)
            try:
                async with self._answer(at_bytes, offer) as response:
                    offer = self._accepted(response, at_bytes, offer)
                    async for piece in response.aiter_raw():
                        at_bytes += len(piece)
                        yield piece
                        await self._watch(at_bytes, offer.total_bytes)
                if offer.total_bytes is None or at_bytes >= offer.total_bytes:
                    return
            except _Busy as error:
                why, least = str(error), error.pause
            except Unreached as error:
                why = str(error)
            except httpx2.TransportError as error:
                why = str(error) or type(error).__name__
            await self._pause(at_bytes, why, least)
            if at_bytes > 0 and offer.validator is None:
                raise _StartOver

    @asynccontextmanager
    async def _answer(self, at_bytes: int, offer: _Offer) -> AsyncIterator[httpx2.Response]:
        """The first answer that is no redirect. What is at the end of redirects may be signed for a short while only,
        so each request goes all the way."""
        headers, target = dict(HEADERS), self._target
        if at_bytes > 0 and offer.validator is not None:
            headers |= {"Range": f"bytes={at_bytes}-", "If-Range": offer.validator}
        elif self._pinned is not None and self._pinned.startswith('"'):
            headers |= {"If-Match": self._pinned}
        for _ in range(MOST_REDIRECTS + 1):
            async with called(
                "GET", target, headers, self._guard, patience=self._patience, resolve=self._resolve
            ) as response:
                if response.status_code not in REDIRECTS:
                    yield response
                    return
                target = next_hop(target, response)
        raise _told(SourceRefused, f"{without_query(self._target)} redirects more than {MOST_REDIRECTS} times")

    def _accepted(self, response: httpx2.Response, at_bytes: int, offer: _Offer) -> _Offer:
        """What this answer offers, if it gives the bytes that were asked for."""
        status, where = response.status_code, without_query(self._target)
        if status in TEMPORARY or status >= 500:
            raise _Busy(response)
        if at_bytes > 0:
            if status == 206 and (continued := _continued(response, at_bytes, offer)) is not None:
                return continued
            if status in (200, 206, 416):  # another file by now, or a source that cannot continue
                raise _StartOver
        if status == 412 and self._pinned is not None:
            raise _changed(where, self._pinned, None)
        if status != 200:
            hint = "open the URL yourself: it must give the file without a login"
            raise _told(SourceRefused, f"{where} answers {status} {response.reason_phrase[:80]}".rstrip(), hint, status)
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise _told(
                SourceRefused, f"{where} sends the file in the encoding {encoding[:40]}, which was not asked for"
            )
        announced = response.headers.get("content-length", "")
        total_bytes = int(announced[:20]) if announced.isdecimal() else None
        if total_bytes is not None and total_bytes > self._limits.max_bytes:
            raise TooLarge(f"{total_bytes} bytes are announced")
        etag: str | None = response.headers.get("etag") or response.headers.get("last-modified")
        if self._pinned is not None and etag != self._pinned:
            raise _changed(where, self._pinned, etag)
        self.told = Told(etag, total_bytes)
        return _Offer(total_bytes, _validator(response))

    async def _pause(self, at_bytes: int, why: str, least: timedelta) -> None:
        """Before the next try. Raises `SourceUnavailable` when too many in a row have brought nothing new."""
        if at_bytes > self._furthest_bytes:
            self._furthest_bytes, self._failures = at_bytes, 0
        self._failures += 1
        if self._failures >= self._limits.tries:
            detail = f"{without_query(self._target)} cannot be fetched: {why} ({self._failures} tries in a row)"
            raise SourceUnavailable(detail, fields=[FieldProblem(POINTER, detail)])
        backoff = timedelta(seconds=self._limits.first_pause_s * 2 ** (self._failures - 1))
        await asyncio.sleep(max(least, backoff).total_seconds())


def next_hop(target: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
    """Where a redirect leads to. Raises `SourceRefused` for no URL, `SourceForbidden` for one that is not followed."""
    where = without_query(target)
    try:
        hop = target.join(response.headers["location"])
    except (KeyError, httpx2.InvalidURL) as error:
        detail = f"{where} answers {response.status_code} without saying where the file is"
        raise _told(SourceRefused, detail) from error
    if not is_callable(hop):
        raise _told(SourceForbidden, f"{where} redirects to what is no http or https URL with a host")
    if target.scheme == "https" and hop.scheme != "https":
        raise _told(
            SourceForbidden, f"{where} redirects from https to http, where anybody on the way can change the file"
        )
    if hop.userinfo:
        raise _told(SourceForbidden, f"{where} redirects to a URL with a user name or password")
    return hop


def _continued(response: httpx2.Response, at_bytes: int, offer: _Offer) -> _Offer | None:
    """The offer with what this 206 adds to it; nothing unless it surely is of the same file and goes on at this byte.

    A source may not know `If-Range`, and a cache between may answer of what it has. Without a length, here or in the
    first answer, nobody can tell a part of the rest from the rest.
    """
    match = CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if match is None or int(match[1]) != at_bytes or offer.validator is None:
        return None
    name = "etag" if offer.validator.startswith('"') else "last-modified"
    if response.headers.get(name, offer.validator) != offer.validator:
        return None
    total_bytes = offer.total_bytes if match[2] == "*" else int(match[2])
    if total_bytes is None or offer.total_bytes not in (None, total_bytes):
        return None
    return replace(offer, total_bytes=total_bytes)


def _validator(response: httpx2.Response) -> str | None:
    """A strong validator for `If-Range`: the ETag, or a time of change that is older than the answer (8.8.2.2)."""
    if response.headers.get("accept-ranges", "bytes").strip().lower() == "none":
        return None
    tag: str | None = response.headers.get("etag")
    if tag is not None:
        return None if tag.startswith("W/") else tag
    changed: str = response.headers.get("last-modified", "")
    try:
        age = parsedate_to_datetime(response.headers.get("date", "")) - parsedate_to_datetime(changed)
    except (ValueError, TypeError, OverflowError):  # no date, or one of them without a zone
        return None
    return changed if age >= timedelta(seconds=1) else None


def _changed(where: str, pinned: str, etag: str | None) -> Rejected:
    now = "another one" if etag is None else etag[:100]
    detail = f"{where} is not the file any more that was described: its ETag was {pinned[:100]}, now it is {now}"
    return _told(SourceChanged, detail, "make the dataset again")


def _told(error: type[Rejected], detail: str, hint: str = "", source_status: int | None = None) -> Rejected:
    message = f"{detail}; {hint}" if hint else detail
    said = {} if source_status is None else {"source_status": source_status}
    return error(message, fields=[FieldProblem(POINTER, detail, hint)], **said)
