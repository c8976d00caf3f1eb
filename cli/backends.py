"""Opens what a platform keeps its state in: database, artifact store, cache, key."""

import dataclasses
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from cli.failure import CommandFailed, Exit
from cli.metrics import Metrics
from core.secrets import Vault, load_key, read_key
from core.settings import Settings
from state.database import STATEMENT_S, Database, open_database
from storage.access import S3Access
from storage.base import ArtifactStore
from storage.cache import ArtifactCache
from storage.local import LocalStore
from storage.metered import MeteredStore
from storage.open import open_store
from workers.broker.open import open_broker

CACHE_BYTES = 20 * 1024**3


@dataclasses.dataclass(frozen=True, slots=True)
class Backends:
    """Where this platform keeps what it must not forget."""

    database: Database
    store: ArtifactStore
    cache: ArtifactCache
    vault: Vault
    metrics: Metrics


def open_backends(settings: Settings, stack: AsyncExitStack, *, statement_s: float | None = STATEMENT_S) -> Backends:
    """Open all of them; `stack` closes them. Raises `CommandFailed` for settings that cannot be."""
    vault = open_vault(settings)
    try:
        database = open_database(settings.database, pool_size=settings.database_pool, statement_s=statement_s)
        stack.push_async_callback(database.close)
        plain = open_store(settings.artifacts, S3Access.of(settings))
        stack.push_async_callback(plain.close)
        open_broker(settings.broker_url).close()  # the worker opens its own; here only a wrong URL is found
    except ValueError as error:  # a URL that cannot be: the message names it
        raise CommandFailed(str(error), exit_status=Exit.USAGE) from error
    metrics = Metrics(settings.data)
    metrics.watch(database)
    store = MeteredStore(plain, urlsplit(settings.artifacts).scheme, metrics.store)
    # A store that is a folder gives its own files, without a copy.
    cache = ArtifactCache(
        plain if isinstance(plain, LocalStore) else store, settings.data / "cache", max_bytes=CACHE_BYTES
    )
    stack.push_async_callback(cache.close)
    return Backends(database, store, cache, vault, metrics)


def open_vault(settings: Settings) -> Vault:
    """The vault with the key from the settings, or from the file that the first start makes."""
    where = "PORTSIDE_SECRET_KEY" if settings.secret_key is not None else str(settings.data / "secret.key")
    try:
        if settings.secret_key is not None:
            return Vault(read_key(settings.secret_key))
        return Vault(load_key(settings.data / "secret.key"))
    except ValueError as error:
        raise CommandFailed(f"{where} is no key of 32 bytes in base64 ({error}).", exit_status=Exit.USAGE) from error
