"""A file from somebody else's server: continued where it broke off, bounded, never from where we must not go."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from core.errors import TooLarge
from storage.base import Stored
from storage.local import LocalStore
from tests.workers.names import Names, open_names
from tests.workers.sources import NOW, FileSource, open_source
from workers.addresses import Guard
from workers.fetching import (
    Limits,
    SourceForbidden,
    SourceRefused,
    SourceTooSlow,
    SourceUnavailable,
    fetch,
    next_hop,
    without_query,
)

FILE = bytes(range(256)) * 40
OTHER = FILE[::-1]
LIMITS = Limits(max_bytes=100_000, whole_s=120, connect_s=60, idle_s=60, tries=3, first_pause_s=0.001)
LOOPBACK, PUBLIC = Guard("loopback", "PORTSIDE_X"), Guard("public", "PORTSIDE_X")
NAME = "models.example"  # no resolver of this machine knows it


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[LocalStore]:
    """An empty store; after the test nothing half-done lies in it."""
    opened = LocalStore(tmp_path)
    yield opened
    await opened.close()
    assert not list((tmp_path / "partial").glob("*"))


async def nobody_watches(received_bytes: int, total_bytes: int | None) -> None:
    """Not told."""


async def fetched(store: LocalStore, source: FileSource, limits: Limits = LIMITS, guard: Guard = LOOPBACK) -> Stored:
    """What comes of its URL."""
    return await fetch(source.url, store, limits, guard, nobody_watches)


def stored(content: bytes) -> str:
    """The digest that the content has in a store."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


async def blobs(store: LocalStore) -> list[str]:
    """Everything that is stored."""
    return [str(digest) async for digest in store.list()]


async def test_a_file_is_stored_under_its_digest_and_told_while_it_comes(store: LocalStore) -> None:
    told: list[tuple[int, int | None]] = []

    async def watch(received_bytes: int, total_bytes: int | None) -> None:
        told.append((received_bytes, total_bytes))

    async with open_source(FILE) as source:
        found = await fetch(source.url, store, LIMITS, LOOPBACK, watch)
    assert (str(found.digest), found.size_bytes) == (stored(FILE), len(FILE))
    assert told[-1] == (len(FILE), len(FILE))
    assert source.asked[0]["accept-encoding"] == "identity"
    assert b"".join([piece async for piece in store.open(found.digest)]) == FILE


async def test_a_connection_that_is_cut_is_continued_where_it_broke_off(store: LocalStore) -> None:
    async with open_source(FILE, cuts=[4000, 1000]) as source:
        found = await fetched(store, source)
    assert str(found.digest) == stored(FILE)
    assert source.ranges_asked == [None, "bytes=4000-", "bytes=5000-"]
    assert source.asked[1]["if-range"].startswith('"')


@pytest.mark.parametrize(("ranges", "asked"), [("none", [None, None]), ("ignored", [None, "bytes=4000-", None])])
async def test_a_source_that_cannot_continue_is_begun_anew(
    store: LocalStore, ranges: str, asked: list[str | None]
) -> None:
    async with open_source(FILE, cuts=[4000], ranges=ranges) as source:
        found = await fetched(store, source)
    assert str(found.digest) == stored(FILE)
    assert source.ranges_asked == asked


@pytest.mark.parametrize(
    ("validator", "asked"),
    [
        ("Sun, 04 Jan 2026 12:00:00 GMT", [None, "bytes=4000-"]),
        (NOW, [None, None]),  # within that second it may have changed again (RFC 9110, 8.8.2.2)
        ("yesterday", [None, None]),
        ("weak", [None, None]),
    ],
)
async def test_only_what_says_surely_that_the_file_is_the_same_continues_it(
    store: LocalStore, validator: str, asked: list[str | None]
) -> None:
    async with open_source(FILE, cuts=[4000], validator=validator) as source:
        await fetched(store, source)
    assert (await blobs(store), source.ranges_asked) == ([stored(FILE)], asked)


async def test_a_file_that_changes_between_two_tries_is_never_mixed(store: LocalStore) -> None:
    async with open_source(FILE, OTHER, cuts=[4000]) as source:
        await fetched(store, source)
    assert await blobs(store) == [stored(OTHER)]


@pytest.mark.parametrize("validator", ["etag", "Sun, 04 Jan 2026 12:00:00 GMT"])
async def test_a_source_that_continues_another_file_of_the_same_length_is_not_believed(
    store: LocalStore, validator: str
) -> None:
    now = "etag" if validator == "etag" else "Mon, 05 Jan 2026 11:00:00 GMT"
    async with open_source(FILE, OTHER, cuts=[4000], ranges="unconditional", validator=[validator, now]) as source:
        await fetched(store, source)
    assert await blobs(store) == [stored(OTHER)]
    assert source.ranges_asked == [None, "bytes=4000-", None]


async def test_a_part_of_the_rest_is_not_taken_for_the_end(store: LocalStore) -> None:
    async with open_source(FILE, cuts=[4000], is_chunked=True, most_at_once=3000) as source:
        await fetched(store, source)
    assert await blobs(store) == [stored(FILE)]
    assert source.ranges_asked == [None, "bytes=4000-", "bytes=7000-", "bytes=10000-"]


@pytest.mark.parametrize("range_said", ["bytes 4000-6999/*", "bytes 4001-6999/10240", "bytes 4000-6999"])
async def test_a_range_that_does_not_say_where_it_lies_continues_nothing(store: LocalStore, range_said: str) -> None:
    async with open_source(FILE, cuts=[4000], is_chunked=True, most_at_once=3000, range_said=range_said) as source:
        await fetched(store, source)
    assert await blobs(store) == [stored(FILE)]
    assert source.ranges_asked == [None, "bytes=4000-", None]


async def test_only_tries_that_bring_nothing_new_are_counted(store: LocalStore) -> None:
    async with open_source(FILE, cuts=[1000] * 10) as source:
        found = await fetched(store, source)
    assert (str(found.digest), len(source.asked)) == (stored(FILE), 11)


async def test_a_source_that_breaks_off_again_and_again_is_given_up_for_now(store: LocalStore) -> None:
    async with open_source(FILE, cuts=[4000, 0, 0, 0]) as source:
        with pytest.raises(SourceUnavailable, match="3 tries in a row"):
            await fetched(store, source)
    assert source.ranges_asked == [None, "bytes=4000-", "bytes=4000-"]
    assert await blobs(store) == []


async def test_a_source_that_is_busy_is_asked_again_and_nobody_there_is_no_verdict(store: LocalStore) -> None:
    async with open_source(FILE, statuses=["503 Busy", "429 Slow down", "200 OK"]) as source:
        assert (await fetched(store, source)).size_bytes == len(FILE)
    with pytest.raises(SourceUnavailable, match="cannot connect"):
        await fetched(store, source)


async def test_a_source_is_asked_again_when_it_says_and_not_before(store: LocalStore) -> None:
    async with open_source(b"", statuses=["429 Slow down"], extra_head="retry-after: 60\r\n") as source:
        for whole_s in (0.3, 3.0, 30.0):
            with pytest.raises(SourceTooSlow):
                await fetched(store, source, replace(LIMITS, whole_s=whole_s))
            if source.asked:  # else the time was over before it came to that
                break
    assert len(source.asked) == 1


@pytest.mark.parametrize("says_length", [True, False])
async def test_a_file_beyond_the_limit_is_refused_with_its_field(store: LocalStore, says_length: bool) -> None:
    async with open_source(FILE, says_length=says_length) as source:
        with pytest.raises(TooLarge) as refused:
            await fetched(store, source, replace(LIMITS, max_bytes=5000))
    assert refused.value.fields[0].pointer == "/source_uri"
    assert await blobs(store) == []


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "404 Not Found", "410 Gone", "204 No Content"])
async def test_a_source_that_says_no_is_asked_once_and_its_query_is_nobodys_business(
    store: LocalStore, status: str
) -> None:
    async with open_source(b"", statuses=[status], says_length=False) as source:
        with pytest.raises(SourceRefused, match=status[:3]) as refused:
            await fetch(f"{source.url}?signature=s3cret", store, LIMITS, LOOPBACK, nobody_watches)
    assert "s3cret" not in str(refused.value.as_problem())
    assert refused.value.extensions["source_status"] == int(status[:3])
    assert [asked["path"] for asked in source.asked] == ["/models/iris.onnx?signature=s3cret"]


async def test_a_file_in_an_encoding_that_nobody_asked_for_is_refused(store: LocalStore) -> None:
    async with open_source(FILE, extra_head="content-encoding: gzip\r\n") as source:
        with pytest.raises(SourceRefused, match="gzip"):
            await fetched(store, source)


async def test_a_redirect_is_followed_and_continued_from_the_beginning_of_the_way(store: LocalStore) -> None:
    async with open_source(FILE, cuts=[4000]) as end:
        head = f"location: {end.url}\r\n"
        async with open_source(b"", statuses=["302 Found"], extra_head=head) as source:
            found = await fetched(store, source)
    assert str(found.digest) == stored(FILE)
    assert (len(source.asked), end.ranges_asked) == (2, [None, "bytes=4000-"])


NOWHERE = ["http://models.example:0/m.onnx", "http://models.example:65536/m.onnx"]


@pytest.mark.parametrize(
    "where", [*NOWHERE, "http://10.0.0.7/m.onnx", "http://169.254.169.254/latest", "file:///etc/passwd"]
)
async def test_a_redirect_to_where_we_must_not_go_is_not_followed(store: LocalStore, where: str) -> None:
    async with open_source(b"", statuses=["307 There"], extra_head=f"location: {where}\r\n") as source:
        with pytest.raises(SourceForbidden):
            await fetched(store, source)
    assert len(source.asked) == 1


async def test_redirects_have_an_end(store: LocalStore) -> None:
    async with open_source(b"", statuses=["302 Found"], extra_head="location: /again\r\n") as source:
        with pytest.raises(SourceRefused, match="more than 5 times"):
            await fetched(store, source)
    assert len(source.asked) == 6


async def test_a_name_that_cannot_be_shown_is_called_and_where_one_is_redirected_to_is_told(store: LocalStore) -> None:
    strange = "xn--a.b-.example"  # no label ends so (RFC 5891, 4.2.3.1), but names that do resolve
    async with open_source(FILE) as source, open_names(["127.0.0.1"]) as names:
        url = f"http://{strange}:{source.port}/m.onnx"
        found = await fetch(url, store, LIMITS, LOOPBACK, nobody_watches, resolve=names.resolve)
    assert (str(found.digest), names.asked) == (stored(FILE), [strange])
    async with open_source(b"", statuses=["302 Found"], extra_head=f"location: {url}\r\n") as source:
        with pytest.raises(SourceUnavailable, match="cannot be read"):
            await fetched(store, source)


def test_a_redirect_may_not_leave_tls_or_bring_a_password() -> None:
    def hop(location: str) -> httpx2.URL:
        answer = httpx2.Response(302, headers={"location": location})
        return next_hop(httpx2.URL("https://models.example/a"), answer)

    assert str(hop("/b")) == "https://models.example/b"
    for location in ("http://models.example/b", "https://user:pass@models.example/b"):
        with pytest.raises(SourceForbidden):
            hop(location)
    assert without_query(httpx2.URL("https://models.example/b?key=x")) == "https://models.example/b?…"


async def test_loopback_is_refused_where_only_the_internet_may_be_reached(store: LocalStore) -> None:
    async with open_source(FILE) as source:
        with pytest.raises(SourceForbidden, match="PORTSIDE_X"):
            await fetched(store, source, guard=PUBLIC)
    assert source.asked == []


async def test_a_name_that_means_an_inner_address_when_it_is_asked_again_is_refused_then(store: LocalStore) -> None:
    names: Names
    async with open_source(FILE, cuts=[4000]) as source, open_names(["127.0.0.1"], ["10.0.0.7"]) as names:
        with pytest.raises(SourceForbidden, match=r"10\.0\.0\.7"):
            await fetch(f"http://{NAME}:{source.port}/", store, LIMITS, LOOPBACK, nobody_watches, resolve=names.resolve)
    assert (names.asked, len(source.asked)) == ([NAME, NAME], 1)
    assert source.asked[0]["host"] == f"{NAME}:{source.port}"


async def test_a_source_that_falls_silent_is_asked_for_the_rest_and_one_that_takes_too_long_is_not(
    store: LocalStore,
) -> None:
    async with open_source(FILE, stall=asyncio.Event()) as source:
        with pytest.raises(SourceUnavailable):
            # The silence is heard twice; an answer that has begun must not be taken for one.
            await fetched(store, source, replace(LIMITS, idle_s=0.5, tries=2))
    assert source.ranges_asked == [None, f"bytes={len(FILE) - 1}-"]
    async with open_source(FILE, stall=asyncio.Event()) as source:
        with pytest.raises(SourceTooSlow, match=r"within 0\.2 s"):
            await fetched(store, source, replace(LIMITS, whole_s=0.2))
    assert await blobs(store) == []
