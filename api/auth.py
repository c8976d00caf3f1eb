"""Who asks: bearer tokens against an in-memory snapshot, and the rule that admits tokenless callers of this machine.

The snapshot is read every 2 s, at once after a change in this process, and serves on while the database is away.
"""

import asyncio
import ipaddress
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

from core.clock import now_micros
from core.errors import DatabaseBusy, Forbidden, Unauthenticated
from core.outages import Outage
from core.secrets import hash_token
from state.database import Database
from state.migrate import DEFAULT_TENANT
from state.operations import Who
from state.queries.tokens import Grant, grants
from state.signals import Signal

log = logging.getLogger(__name__)

RawHeaders = Iterable[tuple[bytes, bytes]]
REFRESH_S = 2.0
# An unknown token makes us look at the database at most this often, so that guessing costs us nothing.
LOOK_AGAIN_S = 0.25
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class ForeignHost(Forbidden):
    """A tokenless request that does not call this machine by a loopback name (DNS rebinding)."""

    code, title = "foreign_host", "This Host needs a token"


class ForeignOrigin(Forbidden):
    """A tokenless request that a page of another site makes a browser send."""

    code, title = "foreign_origin", "This Origin needs a token"


class Authenticator:
    """Tells who makes a request; `authenticate` neither waits nor touches the database."""

    def __init__(self, database: Database, *, admits_tokenless: bool) -> None:
        """`admits_tokenless`: callers of this machine need no token (see `_refuse_strangers`)."""
        self._database = database
        self._admits_tokenless = admits_tokenless
        self._grants: Mapping[str, Grant] = {}
        self._looked_at = 0.0
        self._hurry = asyncio.Event()
        self._lock = asyncio.Lock()
        self._outage = Outage(log, "the tokens could not be read")
        self._task: asyncio.Task[None] | None = None
        database.subscribe(self._hear)

    def authenticate(self, headers: RawHeaders, request_id: str | None = None) -> Who:
        """Who sends these headers (names in lower case, as ASGI gives them). Raises `Unauthenticated`, `Forbidden`."""
        sent = _Credentials(headers)
        if sent.authorization is None:
            if not self._admits_tokenless:
                raise Unauthenticated("this address needs a token: send 'Authorization: Bearer pst_…'")
            _refuse_strangers(sent)
            return Who(DEFAULT_TENANT, "local", "admin", request_id, has_token=False)
        scheme, _, token = sent.authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("the Authorization header must be 'Bearer ' and a token")
        # Looked up by SHA-256: how long that takes tells nothing about the token itself.
        grant = self._grants.get(hash_token(token.strip()))
        if grant is None or (grant.expires_at is not None and grant.expires_at <= now_micros()):
            raise Unauthenticated("the token is unknown, expired or revoked; make a new one with POST /api/v1/tokens")
        return Who(grant.tenant_id, grant.actor, grant.role, request_id, grant.run_id)

    async def admit(self, headers: RawHeaders, request_id: str | None = None) -> Who:
        """The same, looking at the database once more before an unknown token is refused."""
        kept = list(headers)
        try:
            return self.authenticate(kept, request_id)
        except Unauthenticated:
            if _Credentials(kept).authorization is None or not await self._look_again():
                raise
            return self.authenticate(kept, request_id)

    async def refresh(self) -> None:
        """Read the snapshot, or wait for one who reads it from now on. Raises `DatabaseBusy`, keeping the old one."""
        asked_at = time.monotonic()
        async with self._lock:
            if self._looked_at > asked_at:  # who waited here with us has read for us all
                return
            began = time.monotonic()  # what is committed while we read may not be in it
            async with self._database.read() as session:
                self._grants = await grants(session)
            self._looked_at = began

    async def start(self) -> None:
        """Read the snapshot and keep it fresh until `close`."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep_fresh(), name="token snapshot")

    async def close(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _look_again(self) -> bool:
        knows_of_change = self._hurry.is_set() or self._lock.locked()  # heard of, and not read, or perhaps not read
        if not knows_of_change and time.monotonic() - self._looked_at < LOOK_AGAIN_S:
            return False
        try:
            await self.refresh()
        except DatabaseBusy as error:
            self._outage.met(error.message)
            return False
        return True

    async def _keep_fresh(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self.refresh()
                self._outage.over()
            except DatabaseBusy as error:
                self._outage.met(error.message)
            except Exception:
                log.exception("the tokens could not be read, and are tried again")

    def _hear(self, signals: frozenset[Signal]) -> None:
        if any(signal.kind == "changed" and signal.name == "token" for signal in signals):
            self._hurry.set()


class _Credentials:
    """The few headers that say who asks."""

    def __init__(self, headers: RawHeaders) -> None:
        found = {name: value.decode("latin-1").strip() for name, value in headers if name in _READ}
        self.authorization = found.get(b"authorization")
        self.host = found.get(b"host", "")
        self.origin = found.get(b"origin")
        self.fetch_site = found.get(b"sec-fetch-site")


_READ = frozenset({b"authorization", b"host", b"origin", b"sec-fetch-site"})


def _refuse_strangers(sent: _Credentials) -> None:
    host = host_name(sent.host)
    if host not in LOCAL_NAMES:
        raise ForeignHost(
            f"without a token this API answers only to Host localhost, 127.0.0.1 and [::1], not '{sent.host[:100]}'; "
            "use one of these or send a token"
        )
    if sent.origin is not None and _origin_name(sent.origin) not in LOCAL_NAMES:
        raise ForeignOrigin(
            f"without a token, pages of the origin '{sent.origin[:100]}' may not call this API; send one"
        )
    if sent.fetch_site is not None and sent.fetch_site.lower() == "cross-site":
        raise ForeignOrigin(
            "without a token, pages of other sites may not call this API (Sec-Fetch-Site: cross-site); send one"
        )


@lru_cache(maxsize=128)
def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets, in lower case; empty when it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError where it is no number
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host and "@" not in host else ""


def _origin_name(origin: str) -> str:
    scheme, separator, host = origin.partition("://")
    return host_name(host) if separator and scheme in ("http", "https") else ""


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
